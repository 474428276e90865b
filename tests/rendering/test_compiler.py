"""The changes to the HTML of an email: styles, links, preheader, footer, pixel, and nothing else."""

import re

import pytest

from mailganer.i18n.footer_loader import footer_texts
from mailganer.rendering import CompiledEmail, Source
from mailganer.rendering.engine import Engine, recipient_links
from mailganer.rendering.placeholders import SLOT
from mailganer.rendering.render_budget import RenderBudget

from .conftest import URLS, email_of


def rendered(email: CompiledEmail, locale: str = "en", **values: object) -> str:
    return Engine(email).render({**values, **recipient_links(URLS)}, RenderBudget(locale)).html


def untouched(html: str) -> str:
    """Return the compiled HTML without placeholders and without inlined styles."""
    return SLOT.sub("", email_of(html).html)


WHOLE = "<!DOCTYPE html>\n<html>\n<head><title>x</title></head>\n<body>\n{}\n</body>\n</html>\n"


@pytest.mark.parametrize(
    "inside",
    [
        "{% for x in rows %}<tr><td>{{ x }}</td></tr>{% endfor %}",
        "<table>{% for x in y %}<tr>{% if x %}<td>{{ x }}{% else %}<th>-{% endif %}{% endfor %}</table>",
        '{% if a %}<div class="x">{% else %}<div class="y">{% endif %}text</div>',
        '<p title="{{ a|default("b > c") }}">x</p>',
        "<p {% if a %}class='x'{% endif %}>x</p>",
        "<p title={{ a }}>x</p>",
        "<!--[if mso]><table><tr><td>{{ a }}<![endif]--><div>&nbsp;&copy; 2026 &mdash;</div>",
        "<td>unclosed<td>cells<p>and<p>paragraphs",
        "{# a comment with <b> and {{ #}<p>x</p>",
        "{% raw %}{{ not code }}{% endraw %}",
        '{{ {"a": {"b": 1}}["a"]["b"] }}',
        "{{ '}}' }}<p>{{ \"%}\" }}</p>",
        "<SPAN CLASS=big>x</SPAN>\t<br/>",
        "<script>if (a < b && c > d) { x() }</script>",
        "<p>5 < 6 & 7 > 2</p>",
    ],
)
def test_what_a_user_wrote_stays_as_it_is(inside: str) -> None:
    assert untouched(WHOLE.format(inside)) == WHOLE.format(inside)


def test_a_fragment_becomes_a_whole_document_on_the_same_lines() -> None:
    prepared = untouched("<p>one</p>\n<p>two</p>")
    assert prepared.startswith("<!DOCTYPE html><html>")
    assert "<body><p>one</p>\n<p>two</p></body></html>" in prepared
    assert 'name="viewport"' in prepared


# --- styles


def test_styles_are_written_into_the_tags_they_mean() -> None:
    prepared = email_of(
        WHOLE.format("<style>p { color: red } .a > b { font-weight: 700 }</style><p class=a>x<b>y</b></p>")
    ).html
    assert re.search(r'<p style="color: ?red;?" class=a>x<b style="font-weight: ?700;?">y</b></p>', prepared)
    assert "<style>p { color: red }" in prepared


def test_styles_of_media_queries_stay_where_they_are() -> None:
    style = "<style>@media (max-width:600px) { p { color: red !important } }</style>"
    assert untouched(WHOLE.format(style + "<p>x</p>")) == WHOLE.format(style + "<p>x</p>")


def test_a_tags_own_style_wins_and_its_template_code_survives() -> None:
    html = "<style>p { color: red; margin: 1px }</style><p style=\"color: {{ c|default('blue') }}\">x</p>"
    found = rendered(email_of(html), c="green")
    style = re.search(r'<p style="([^"]*)"', found)
    assert style
    assert "color: green" in style[1]
    assert "red" not in style[1]
    assert re.search(r"margin: ?1px", style[1])


def test_a_style_that_is_decided_by_a_condition_is_left_alone() -> None:
    html = '<style>p { color: red }</style><p style="{% if a %}color: blue{% endif %}">x</p><p>y</p>'
    prepared = email_of(html).html
    assert '<p style="{% if a %}color: blue{% endif %}">x</p>' in prepared
    assert re.search(r'<p style="color: ?red;?">y</p>', prepared)


def test_styles_reach_into_tables_with_loops() -> None:
    rows = '{% for x in ["a", "b"] %}<tr><td>{{ x }}</td></tr>{% endfor %}'
    html = f"<style>td {{ color: red }}</style><table>{rows}</table>"
    assert len(re.findall(r'<td style="color: ?red;?">', rendered(email_of(html)))) == 2


def test_short_styles_are_not_taken_for_comments_of_a_template() -> None:
    email = email_of("<style>@media print{#menu{display:none}}</style><p>{# gone #}x</p>")
    assert "<style>@media print{#menu{display:none}}</style>" in rendered(email)
    assert "gone" not in rendered(email)
    assert email.html.count("{{") == 1, "it is constant text"


def test_styles_may_hold_variables() -> None:
    html = "<style>p { color: {{ colour }} }</style><p>x</p>"
    assert len(re.findall(r"color: ?teal", rendered(email_of(html), colour="teal"))) == 2


def test_a_value_cannot_leave_its_style() -> None:
    found = rendered(email_of('<p style="color: {{ c }}">x</p>'), c='red" onclick="x')
    assert 'onclick="' not in found


def test_styles_from_elsewhere_are_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    html = '<link rel="stylesheet" href="http://127.0.0.1:9/x.css"><style>@import "file:///etc/passwd";</style><p>x</p>'
    assert "root:" not in email_of(html).html


# --- links


def test_web_links_are_numbered_and_all_others_left() -> None:
    email = email_of(
        "<a href=\"https://example.com/a?x=1&amp;y=2\">a</a><A HREF='HTTP://example.com/b'>b</A>"
        '<a href="https://example.com/a?x=1&amp;y=2">again</a><a href="mailto:a@example.com">m</a>'
        '<a href="tel:+123">t</a><a href="#top">top</a><a href="{{ unsubscribe_url }}">u</a>'
        '<a href="{{ browser_url }}">v</a><a href="{{ site }}/x">s</a><a name="n">n</a><a href="">e</a>'
        '<a href="https://e.com/?q={{ q|default("a>b") }}">q</a><link href="https://e.com/x.css">'
    )
    assert email.links == (
        "https://example.com/a?x=1&y=2",
        "HTTP://example.com/b",
        "{{ site }}/x",
        'https://e.com/?q={{ q|default("a>b") }}',
    )
    html = rendered(email)
    numbers = re.findall(rf'href=["\']{URLS.click}/(\d)["\']', html, re.IGNORECASE)
    assert numbers == ["1", "2", "1", "3", "4"]
    for kept in ("mailto:a@example.com", "tel:+123", "#top", URLS.unsubscribe, URLS.browser):
        assert f'href="{kept}"' in html


def test_links_made_inside_of_loops_stay_uncounted_because_is_unknown_them_later() -> None:
    email = email_of(
        '{% for p in ["a", "b"] %}<a href="https://e.com/{{ p }}">x</a>'
        '<a href="https://e.com/all">y</a>{% endfor %}'
        '{% set u = "https://e.com/set" %}<a href="{{ u }}">z</a>'
    )
    assert email.links == ("https://e.com/all",)
    assert 'href="https://e.com/b"' in rendered(email)


def test_the_button_that_only_outlook_shows_is_counted_like_the_other() -> None:
    email = email_of(
        '<!--[if mso]><v:roundrect href="https://e.com/go" style="height:40px">x</v:roundrect><![endif]-->'
        '<!--[if !mso]><!--><a href="https://e.com/go">x</a><!--<![endif]-->'
    )
    assert email.links == ("https://e.com/go",)
    assert rendered(email).count(f"{URLS.click}/1") == 2


def test_links_in_ordinary_comments_are_not_tracked() -> None:
    assert email_of('<!-- <a href="https://e.com/">x</a> --><p>x</p>').links == ()


def test_links_in_a_text_of_ones_own_are_counted_with_those_of_the_html() -> None:
    email = email_of(
        '<a href="https://e.com/a">x</a>',
        text="See https://e.com/a, or (https://e.com/b?q={{ q }}). Leave: {{ unsubscribe_url }}",
    )
    assert email.links == ("https://e.com/a", "https://e.com/b?q={{ q }}")
    text = Engine(email).render(recipient_links(URLS), RenderBudget()).text
    assert text.startswith(f"See {URLS.click}/1, or ({URLS.click}/2). Leave: {URLS.unsubscribe}")


def test_code_that_a_visual_editor_escaped_is_read_as_it_was_meant() -> None:
    html = "<p>{{ a|default(&quot;x&quot;) }}{% if n &gt; 3 %}big{% endif %}{{\u00a0a\u00a0}} &amp; &lt;</p>"
    assert "<p>xbig &amp; &lt;</p>" in rendered(email_of(html), n=5)


# --- additions


def test_the_preheader_is_hidden_first_in_the_body_and_escaped() -> None:
    html = rendered(
        email_of("<body class=x><p>x</p></body>", preheader="A <b> for {{ name }}\nB"), name="<i>"
    )
    body = html[html.index("<body") :]
    assert body.startswith('<body class=x><div style="display:none')
    assert "A &lt;b&gt; for &lt;i&gt; B&#847;" in body


def test_the_pixel_is_last_in_the_body() -> None:
    html = rendered(email_of("<body><!-- </body> --><p>x</p></body>"))
    assert re.search(rf'<img src="{URLS.open}" width="1" height="1" alt=""[^>]*></body>', html)
    assert html.count(URLS.open) == 1


def test_an_email_without_a_way_out_gets_one_in_its_language() -> None:
    for locale, word in (("en", "Unsubscribe"), ("ru", "Отписаться"), ("de", "Unsubscribe")):
        found = Engine(email_of("<p>x</p>"), footer=footer_texts(locale)).render(
            recipient_links(URLS), RenderBudget()
        )
        assert f'<a href="{URLS.unsubscribe}"' in found.html
        assert word in found.html
        assert f"{word}: {URLS.unsubscribe}" in found.text


def test_an_email_with_its_own_way_out_gets_no_second_one() -> None:
    found = Engine(email_of('<a href="{{ unsubscribe_url }}">bye</a>')).render(
        recipient_links(URLS), RenderBudget()
    )
    assert found.html.count(URLS.unsubscribe) == 1
    assert found.text.count(URLS.unsubscribe) == 1


def test_each_part_has_its_own_way_out() -> None:
    email = email_of('<a href="{{ unsubscribe_url }}">bye</a>', text="Only text")
    found = Engine(email).render(recipient_links(URLS), RenderBudget())
    assert found.html.count(URLS.unsubscribe) == 1
    assert found.text.count(URLS.unsubscribe) == 1


def test_a_way_out_in_a_campaign_variable_counts() -> None:
    email = email_of("<p>{{ foot }}</p>", variables={"foot": "Leave: {{ unsubscribe_url }}"})
    assert Engine(email).render(recipient_links(URLS), RenderBudget()).html.count(URLS.unsubscribe) == 1


def test_signs_that_we_use_inside_are_taken_out_of_what_comes_in() -> None:
    email = email_of("<p>\U0010ff02pixel\U0010ff03\U0010ff000\U0010ff01{{ a }}</p>")
    assert "<p>pixel0x</p>" in rendered(email, a="x\U0010ff02")


def test_an_email_is_prepared_the_same_way_twice() -> None:
    source = Source("a", "b", "<style>p{color:red}</style><p>{{ x }}<a href='https://e.com'>y</a></p>")
    assert email_of(source.html) == email_of(source.html)


def test_styles_that_make_no_sense_do_no_harm() -> None:
    assert ">x</p>" in email_of("<style>p { color: } } @media { {{ x }} </style><p>x</p>").html
