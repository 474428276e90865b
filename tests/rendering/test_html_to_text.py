"""The text part generated from the HTML."""

from pathlib import Path

import pytest

from mailganer.rendering.engine import Engine, recipient_links
from mailganer.rendering.render_budget import RenderBudget

from .conftest import URLS, email_of


def text_of(html: str, **values: object) -> str:
    """Return the text without the footer added to emails without an unsubscribe link."""
    text = Engine(email_of(html)).render({**values, **recipient_links(URLS)}, RenderBudget()).text
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


@pytest.mark.parametrize(
    ("attributes", "first", "last"),
    [
        ('type="a"', ["a", "b", "c"], "afx"),
        ('type="A" start="25"', ["Y", "Z", "AA"], "AGV"),
        ('type="i" start="-1"', ["-1", "0", "i"], "dcccliv"),
        ('style="list-style-type: upper-roman" start="3998"', ["MMMCMXCVIII", "MMMCMXCIX", "4000"], "4853"),
        ('type="1" start="9"', ["9", "10", "11"], "864"),
    ],
)
def test_items_that_a_loop_makes_keep_letters_and_roman_numerals(
    attributes: str, first: list[str], last: str
) -> None:
    html = f"<ol {attributes}>{{% for each in items %}}<li>{{{{ each }}}}</li>{{% endfor %}}</ol>"
    signs = [line.partition(". ")[0] for line in text_of(html, items=list(range(856))).split("\n")]
    assert (signs[:3], signs[855]) == (first, last)


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


# --- lists, pictures, preformatted text


def test_lists_keep_their_numbers_and_an_item_is_one_line() -> None:
    html = (Path(__file__).parent / "cases" / "lists.html").read_text()
    assert text_of(html) == "3. One\n  - sub a\n  - sub b\n4. Two\n\n- para item"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<ul><li><p>a</p></li><li><div>b</div></li></ul>", "- a\n- b"),
        ("<ul><li><p>a</p><p>b</p></li><li>c<br>d</li></ul>", "- a\n\n  b\n- c\n  d"),
        ("<ul><li></li><li>a</li></ul><p>b</p>", "-\n- a\n\nb"),
        ("<ol start=5><li>a<li value=9>b<li>c</ol>", "5. a\n9. b\n10. c"),
        ("<ol reversed><li>a</li><li>b</li></ol>", "2. a\n1. b"),
        ("<ol type=a start=26><li>a</li><li>b</li></ol>", "z. a\naa. b"),
        ("<ol type=I start=4><li>a</li><li>b</li></ol>", "IV. a\nV. b"),
        ("<ol type=i start=0><li>a</li><li>b</li></ol>", "0. a\ni. b"),
        ("<ol style='list-style-type: upper-alpha'><li>a</li></ol>", "A. a"),
        ("<menu><li>a</li><li>b</li></menu>c", "- a\n- b\n\nc"),
        ("<details><summary>a</summary>b</details>c", "a\nb\nc"),
        ("<ol start=x><li>a</li></ol><ol><li>b</li></ol>", "1. a\n\n1. b"),
        ("<ol><li>a<ol><li>b</li></ol></li><li>c</li></ol>", "1. a\n  1. b\n2. c"),
        ("<ol><li>z</li>{% for x in 'ab' %}<li><p>{{ x }}</p></li>{% endfor %}</ol>", "1. z\n2. a\n3. b"),
        ("<ol>{% for x in '' %}<li>a</li>{% else %}<li>none</li>{% endfor %}</ol>", "- none"),
        ("<ol>{% if n %}<li>a</li>{% endif %}<li>b{% if n %}c{% endif %}</li></ol>", "- b"),
        ("<ol><li>a{% if n %}b{% endif %}</li><li>c</li></ol>", "1. a\n2. c"),
        ("<pre>\na\n  b\n\n\n<b>c</b> {{ n }}\n</pre>d", "a\n  b\n\n\nc\n\nd"),
    ],
)
def test_items_and_lines_stay_what_they_are(html: str, text: str) -> None:
    assert "\n".join(line.rstrip() for line in text_of(html).splitlines()) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            '<a href="https://a.test"><img src=x></a><a href="https://b.test"><img src=y></a>',
            "{0}/1 {0}/2",
        ),
        (
            '<a href="https://a.test"><img alt="A"></a><a href="https://b.test"><img alt="B"></a>, c',
            "A ({0}/1) B ({0}/2), c",
        ),
        ('<img alt="A"><img alt="B">c', "A B c"),
        ('<a href="https://a.test">a</a>b', "a ({0}/1) b"),
        ('{% for x in "12" %}<a href="https://a.test"><img alt="A"></a>{% endfor %}', "A ({0}/1) A ({0}/1)"),
    ],
)
def test_neighbouring_pictures_and_links_stay_apart(html: str, text: str) -> None:
    found = text_of(html).replace("\n", " ").split()
    assert " ".join(found) == text.format(URLS.click)


@pytest.mark.parametrize(
    ("href", "text"),
    [
        ("mailto:a@e.com?subject=Hi%20there&amp;body=x", "write (a@e.com)"),
        ("MAILTO:a%2Bb@e.com", "write (a+b@e.com)"),
        ("tel:+7%20495%20123-45-67", "write (+7 495 123-45-67)"),
        ("SMS:+74951234567?body=Hi", "write (+74951234567)"),
        ("sms:+74951234567;body=Hi", "write (+74951234567)"),
        ("mailto:?subject=x", "write"),
        ("mailto:{{ m }}?subject={{ s }}", "write (b@e.com)"),
    ],
)
def test_an_address_to_write_to_stands_without_its_query(href: str, text: str) -> None:
    assert text_of(f'<a href="{href}">write</a>', m="b@e.com", s="?") == text
    assert text_of('<a href="mailto:a@e.com?subject=x">a@e.com</a>') == "a@e.com"


@pytest.mark.parametrize(
    ("href", "words", "text"),
    [
        ("https://shop.test/", "https://shop.test", "{0}/1"),
        ("https://shop.test", "shop.test/", "{0}/1"),
        ("https://shop.test/a?b=1&amp;c=2", "Shop.test/a?b=1&amp;c=2", "{0}/1"),
        ("https://shop.test/a", "shop.test", "shop.test ({0}/1)"),
        ("mailto:info@shop.test", "Info@Shop.test", "Info@Shop.test"),
        ("tel:+74951234567", "+7 (495) 123-45-67", "+7 (495) 123-45-67"),
        ("tel:+74951234567", "+7 495 123-45-68", "+7 495 123-45-68 (+74951234567)"),
        ("tel:112", "12", "12 (112)"),
    ],
)
def test_an_address_that_is_the_text_of_its_link_stands_once(href: str, words: str, text: str) -> None:
    assert text_of(f'<a href="{href}">{words}</a>') == text.format(URLS.click)


def test_an_area_of_a_picture_is_a_link() -> None:
    areas = '<area href="https://a.test" alt="A"><area href="https://b.test"><area alt="no link">'
    assert text_of(f"<map>{areas}</map>") == f"A ({URLS.click}/1) {URLS.click}/2"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<div hidden>no</div>yes", "yes"),
        ("<div style='max-height:0px;overflow:hidden;'>no</div>yes", "yes"),
        ("<div style='max-height:0;line-height:20px'>yes</div>", "yes"),
        ("<div style='line-height:0;overflow:hidden'>yes</div>", "yes"),
        ("<span style='opacity:0'>no</span><span style='opacity:0.5'>yes</span>", "yes"),
        ("<style>.pre { display: none }</style><p class=pre>no</p>yes", "yes"),
        ("<style>@media print { p { display: none } }</style><p>yes</p>", "yes"),
        # Outlook has a button of its own; all others see this one.
        ("<a href='https://a.test' style='mso-hide:all'>yes</a>", f"yes ({URLS.click}/1)"),
    ],
)
def test_what_no_one_sees_is_not_in_the_text(html: str, text: str) -> None:
    assert text_of(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("\U0001f468&zwj;\U0001f469&#x200d;\U0001f467 we", "\U0001f468\u200d\U0001f469\u200d\U0001f467 we"),
        ("\u0645\u06cc&zwnj;\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("Sale&#847;&zwnj;&nbsp;&#847;&zwnj;&nbsp;&zwj;&zwnj;", "Sale"),
        ("a &zwnj; b&zwnj;&zwnj;c", "a b\u200cc"),
    ],
)
def test_joiners_stay_in_words_and_emoji_and_go_from_fillings(html: str, text: str) -> None:
    assert text_of(f"<p>{html}</p>") == text


@pytest.mark.parametrize(
    ("html", "empty", "filled"),
    [
        ("<a href='{{ x }}'>Shop</a>, now", "Shop, now", "Shop ({}), now"),
        ("<a href='{{ x|default(\"\") }}'>Shop</a> now", "Shop now", "Shop ({}) now"),
        ("see <a href='{{ x }}'>{{ x }}</a>", "see", "see {}"),
        ("<a href='mailto:{{ x }}'>Write</a>", "Write", "Write (a.test)"),
    ],
)
def test_no_empty_brackets_stand_behind_a_link_without_an_address(html, empty, filled):
    assert text_of(f"<p>{html}</p>", x="").rstrip() == empty
    assert text_of(f"<p>{html}</p>", x="a.test") == filled.format(f"{URLS.click}/1")
