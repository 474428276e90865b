"""The HTML part of an email written as text only."""

import html
import re

import pytest

from mailganer.errors import EmailError
from mailganer.rendering import CompiledEmail, MessageRenderer
from mailganer.rendering.engine import Engine, recipient_links
from mailganer.rendering.render_budget import RenderBudget
from mailganer.rendering.text_to_html import html_of as template_of

from .conftest import COPY, ENVELOPE, URLS, email_of, part, read


def shown(email: CompiledEmail, **values: object) -> str:
    """Return the body above the footer."""
    whole = Engine(email).render({**values, **recipient_links(URLS)}, RenderBudget()).html
    return re.sub(r'.*?<div style="max-width.*?">(.*?)</div>.*', r"\1", whole, flags=re.DOTALL)


def words(markup: str) -> str:
    """Return it as a browser shows it, with line ends."""
    text = re.sub(r"</p\s+><p [^>]*>", "\n\n", re.sub(r"<br\s*>", "\n", markup))
    return html.unescape(re.sub(r"<[^>]*>", "", text))


def test_an_email_written_as_text_only_has_an_html_part_and_a_pixel() -> None:
    message = MessageRenderer(email_of(html="", text="Hello {{ first_name }}"), ENVELOPE).render(COPY)
    assert [piece.get_content_type() for piece in read(message).iter_parts()] == ["text/plain", "text/html"]
    assert part(message, "plain").startswith("Hello Анна\n")
    assert "Hello Анна</p>" in part(message, "html")
    assert f'<img src="{URLS.open}"' in part(message, "html")


def test_it_goes_the_fast_way() -> None:
    message = MessageRenderer(
        email_of(html="", text="Hello {{ first_name }}\n\nhttps://e.com"), ENVELOPE
    ).render(COPY)
    assert message.count(b"Content-Transfer-Encoding: quoted-printable") == 2


def test_its_signs_stay_signs_and_so_do_those_of_values() -> None:
    email = email_of(
        html="", text='a < b & "c" <b>bold</b> &amp; {{ city }}{% if a > 1 %} {{ "<i>" }}{% endif %}'
    )
    found = shown(email, city="<script>", a=2)
    assert words(found) == 'a < b & "c" <b>bold</b> &amp; <script> <i>'
    assert "<script" not in found
    assert "<b>" not in found


def test_lines_and_paragraphs_are_kept() -> None:
    found = shown(email_of(html="", text="Dear {{ name }},\none\ntwo\n\nBye\n\n\n"), name="Ann")
    assert found == (
        '<p style="margin:0">Dear Ann,<br\n>one<br\n>two</p\n\n><p style="margin:24px 0 0">Bye</p>'
    )


def test_line_ends_that_a_minus_takes_away_are_no_breaks() -> None:
    text = "Things:\n{%- for thing in ['tea', 'cake'] %}\n- {{ thing }}\n{%- endfor %}\n\n{{ a -}}\n  End"
    email = email_of(html="", text=text)
    assert words(shown(email, a="The")) == "Things:\n- tea\n- cake\n\nTheEnd"
    assert (
        Engine(email)
        .render({"a": "The", **recipient_links(URLS)}, RenderBudget())
        .text.startswith(words(shown(email, a="The")))
    )


def test_its_web_addresses_are_links_that_are_counted_once_for_both_parts() -> None:
    email = email_of(html="", text="See https://e.com/a?b=1&c={{ c }}, or (https://e.com).")
    assert email.links == ("https://e.com/a?b=1&c={{ c }}", "https://e.com")
    found = shown(email, c="<2>")
    assert f'See <a href="{URLS.click}/1">https://e.com/a?b=1&amp;c=&lt;2&gt;</a>, or (' in found
    assert f'(<a href="{URLS.click}/2">https://e.com</a>).' in found


def test_a_way_out_of_its_own_is_a_link() -> None:
    found = shown(email_of(html="", text="Leave: {{ unsubscribe_url }}."))
    assert f'Leave: <a href="{URLS.unsubscribe}">{URLS.unsubscribe}</a>.' in found


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("{% if a %}https://e.com{% endif %} bye", ("https://e.com",)),
        ("{% for x in [1] %}https://e.com/{{ c }}{% endfor %}", ("https://e.com/{{ c }}",)),
        ("https://e.com/{% if a %}b{% endif %}", ("https://e.com/{% if a %}b{% endif %}",)),
        ("https://{% if a %}e.com or {% endif %}e.org", ()),
    ],
)
def test_conditions_around_an_address_are_not_part_of_it(text: str, links: tuple[str, ...]) -> None:
    assert email_of(html="", text=text).links == links
    assert email_of(html="<p>x</p>", text=text).links == links


def test_raw_text_is_text() -> None:
    assert words(shown(email_of(html="", text="{% raw %}{{ a }} <b>\n{% endraw %}b"))) == "{{ a }} <b>\nb"


def test_an_error_names_the_text_and_its_line() -> None:
    with pytest.raises(EmailError) as caught:
        email_of(html="", text="one\n\nthree {{ 'a' * 'b' }}")
    assert (caught.value.field, caught.value.line) == ("text", 3)


def test_the_preheader_stands_before_it() -> None:
    whole = (
        Engine(email_of(html="", text="Hello", preheader="News"))
        .render(recipient_links(URLS), RenderBudget())
        .html
    )
    assert whole.index("News") < whole.index("Hello")


def test_several_addresses_without_a_scheme_are_links_each() -> None:
    html = template_of("www.shop.example and www.other.example, https://a.example/?u=www.b.example")
    assert html.count("<a href=") == 3
