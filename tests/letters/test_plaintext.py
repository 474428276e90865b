"""The text part that is made from the HTML."""

import pytest

from mailganer.letters.bounds import Run
from mailganer.letters.engine import Engine, reader_links

from .conftest import URLS, letter_of


def text_of(html: str, **values: object) -> str:
    """Without the footer that is put under letters with no way out."""
    text = Engine(letter_of(html)).render({**values, **reader_links(URLS)}, Run()).text
    return text.split("\n-- \n")[0].strip("\n")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("one<br>two<br><br>three", "one\ntwo\n\nthree"),
        ("<p>one  \n\t two</p>", "one two"),
        ("<h1>Title</h1>text<div>more</div>", "Title\n\ntext\nmore"),
        ("<ul><li>a</li><li> b </li></ul>end", "- a\n- b\n\nend"),
        ("<b>bold</b> and <i>it</i>alic", "bold and italic"),
        ("&copy; &lt;b&gt; &amp;&nbsp;x&#8203;", "© <b> & x"),
        ("<style>p{}</style><script>x</script><title>t</title>text<!-- no -->", "text"),
        ("<div style='DISPLAY : none'>hidden <div>deep</div></div>seen", "seen"),
        ("<span aria-hidden=true>★</span>seen", "seen"),
        ("<img src=x alt='A picture'><img src=y alt=''>", "A picture"),
        ("<hr>x", "-" * 20 + "\n\nx"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>", "a b\nc d"),
        ("<table><tr><td>one</td></tr><tr><td>two</td></tr></table>", "one\n\ntwo"),
        ("<a href='mailto:a@example.com'>write</a>", "write (a@example.com)"),
        ("<a href='#top'>top</a>", "top"),
        ("&#123;{ 7*7 }} &#123;% if %}", "{{ 7*7 }} {% if %}"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ],
)
def test_html_as_text(html: str, text: str) -> None:
    assert text_of(html) == text


def test_links_are_counted_in_the_text_too() -> None:
    assert text_of('Go <a href="https://e.com/">there</a>, now') == f"Go there ({URLS.click}/1), now"
    assert text_of('<a href="https://e.com/"><img src="x"></a>') == f"{URLS.click}/1"


def test_loops_and_conditions_work_in_the_text_as_in_the_html() -> None:
    html = """
    <p>Hello{% if name %}, {{ name }}{% endif %}!</p>
    <table>
      {% for item in ["tea", "cake"] %}
        <tr><td>{{ loop.index }}</td><td>{{ item }}</td></tr>
      {% else %}
        <tr><td>nothing</td></tr>
      {% endfor %}
    </table>
    <p>Bye</p>
    """
    assert text_of(html, name="Ann") == "Hello, Ann!\n\n1 tea\n2 cake\n\nBye"
    assert text_of(html).startswith("Hello!\n")


def test_conditions_that_begin_in_comments_or_hidden_places_keep_their_ends() -> None:
    html = (
        "<!-- {% if vip %} --><p>For you</p><!-- {% endif %} -->"
        "<div style='display:none'>{% if vip %}secret</div><p>open</p>{% endif %}"
        "<p {% if vip %}class=x{% endif %}>all</p>"
    )
    assert text_of(html, vip=True) == "For you\n\nopen\n\nall"
    assert text_of(html) == "all"


def test_values_are_plain_in_the_text() -> None:
    assert text_of("<p>{{ name }} &amp; co</p>", name="<Ann>") == "<Ann> & co"
