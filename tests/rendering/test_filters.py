"""Expressions in an email: as users expect them, with columns that are texts and often empty."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from mailganer.errors import EmailError
from mailganer.rendering.localized_values import DayAndMonth
from mailganer.rendering.render_budget import RenderBudget
from mailganer.rendering.sandbox import HTML, TEXT, CompiledTemplate


def said(template: str, locale: str = "en", **values: object) -> str:
    return CompiledTemplate(template, "text", TEXT).render(values, RenderBudget(locale))


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_default_fills_what_is_missing_and_what_is_empty(empty: object) -> None:
    template = "{{ name|default('friend') }} {{ name|d('friend') }} {{ name|default }}"
    assert said(template, **({} if empty is None else {"name": empty})) == "friend friend "


def test_default_keeps_zero() -> None:
    assert said("{{ n|default(5) }} {{ m|default('x') }}", n=0, m="0") == "0 0"


@pytest.mark.parametrize(
    ("pattern", "ru", "en"),
    [
        ("d MMMM", "1 мая", "1 May"),
        ("%d %B", "01 мая", "01 May"),
        ("%-d %B %Y", "1 мая 2026", "1 May 2026"),
        ("%e %b", "1 мая", "1 May"),
        ("%B %Y", "май 2026", "May 2026"),
        ("%d.%m.%Y", "01.05.2026", "01.05.2026"),
        ("%A", "пятница", "Friday"),
        ("in %Y 'quoted' at %%", "in 2026 'quoted' at %", "in 2026 'quoted' at %"),
        ("long", "1 мая 2026 г.", "May 1, 2026"),
        ("dd.MM.yy", "01.05.26", "01.05.26"),
    ],
)
def test_dates_by_either_way_of_writing_a_format(pattern: str, ru: str, en: str) -> None:
    day = date(2026, 5, 1)
    template = "{{ day|date(pattern) }}"
    assert said(template, "ru", day=day, pattern=pattern).replace("\u202f", " ") == ru
    assert said(template, "en", day=day, pattern=pattern) == en
    assert said("{{ day|date(pattern, 'ru') }}", "en", day=day, pattern=pattern).replace("\u202f", " ") == ru


@pytest.mark.parametrize(
    "value", ["2026-05-01", "2026-05-01T09:30:00+03:00", "01.05.2026", "1.5.2026", " 2026-05-01 "]
)
def test_texts_that_look_like_dates_are_dates(value: str) -> None:
    assert said("{{ day|date('d MMMM y') }}", day=value) == "1 May 2026"


@pytest.mark.parametrize("value", ["in spring", "2026-13-45", "31.02.2026", "12"])
def test_what_is_no_date_is_printed_as_it_is(value: str) -> None:
    assert said("{{ day|date('d MMMM') }}", day=value) == value


def test_a_datetime_can_be_formatted_with_its_time() -> None:
    moment = datetime(2026, 5, 1, 9, 5, tzinfo=UTC)
    assert (
        said("{{ t|date('HH:mm') }} {{ t|date('%H:%M') }} {{ t|date }}", t=moment)
        == "09:05 09:05 May 1, 2026"
    )


@pytest.mark.parametrize(
    ("n", "form"),
    [
        (0, "писем"),
        (1, "письмо"),
        (2, "письма"),
        (5, "писем"),
        (11, "писем"),
        (12, "писем"),
        (21, "письмо"),
        (22, "письма"),
        (111, "писем"),
        (1001, "письмо"),
        ("4", "письма"),
        ("1,5", "письма"),
        (-1, "письмо"),
        ("", "писем"),
        ("many", "писем"),
    ],
)
def test_russian_plurals(n: object, form: str) -> None:
    assert said("{{ n|plural('письмо', 'письма', 'писем') }}", n=n) == form


@pytest.mark.parametrize(
    ("n", "form"), [(0, "emails"), (1, "email"), ("1", "email"), (2, "emails"), ("", "emails")]
)
def test_english_plurals(n: object, form: str) -> None:
    assert said("{{ n|plural('email', 'emails') }}", n=n) == form


@pytest.mark.parametrize(
    ("locale", "forms", "expected"),
    [
        ("fr", "email emails", {0: "email", 1: "email", 2: "emails"}),
        ("pl", "list listy listów", {1: "list", 3: "listy", 5: "listów", 21: "listów", 22: "listy"}),
        ("cs", "e-mail e-maily e-mailů", {1: "e-mail", 4: "e-maily", 22: "e-mailů"}),
        ("pl", "email emails", {1: "email", 22: "emails"}),  # of two forms as in English
        ("ru", "email emails", {1: "email", 21: "emails"}),
        ("en", "письмо письма писем", {21: "письмо"}),  # of three as in Russian
        ("xx", "email emails", {1: "email", 0: "emails"}),
    ],
)
def test_plurals_follow_the_language_of_the_email(locale: str, forms: str, expected: dict[int, str]) -> None:
    written = ", ".join(f"'{form}'" for form in forms.split())
    found = {n: said(f"{{{{ n|plural({written}) }}}}", locale, n=n) for n in expected}
    assert found == expected


def test_plural_needs_its_forms() -> None:
    with pytest.raises(EmailError, match="two forms"):
        said("{{ 1|plural('x') }}")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ points + 5 }}", "17"),
        ("{{ points * 2 }}", "24"),
        ("{{ points / 5 }}", "2.4"),
        ("{{ points / 4 }}", "3"),
        ("{{ points // 5 }} {{ points % 5 }} {{ points ** 2 }} {{ -points }}", "2 2 144 -12"),
        ("{{ price * 2 }}", "3"),
        ("{% if points > 9 %}yes{% endif %}", "yes"),
        ("{% if points == 12 and points != 13 %}yes{% endif %}", "yes"),
        ("{% if nobody > 9 or nobody < 9 %}yes{% else %}no{% endif %}", "no"),
        ("{% if nobody == '' and not nobody %}empty{% endif %}", "empty"),
        ("{% if day == '2026-05-01' and day < '2026-06-01' %}yes{% endif %}", "yes"),
        ("{{ 'a' + 'b' }} {{ 'a' ~ 1 }} {{ '-' * 5 }} {{ 0.1 + 0.2 }}", "ab a1 ----- 0.30000000000000004"),
        (
            "{{ '%.2f'|format(price) }} {{ '%05d' % points }} {{ '%s!'|format('x') }} 100{{ '%%'|format }}",
            "1.50 00012 x! 100%",
        ),
        ("{{ [3, 1, 2]|sort|join(', ') }} {{ [1, 2]|sum }} {{ ['a', 'b']|length }}", "1, 2, 3 3 2"),
        ("{{ price|round(1) }} {{ points|int + 1 }} {{ '7'|float }}", "1.5 13 7"),
        (
            "{{ name.upper() }} {{ name|upper }} {{ name.replace('n', 'm') }} {{ name|replace('n', 'm') }}",
            "ANN ANN amm amm",
        ),
        ("{{ name[0] }} {{ name[:2] }} {{ name.split('n')[0] }} {{ name|first }}", "a an a a"),
        ("{{ c.name }} {{ c['name'] }} {{ c.items }} {{ c.get('name') }}", "N N own N"),
        ("{{ [1, 'a', none] }}", "1, a, "),
        ("{{ price2 }} {{ day }}", "1.50 2026-05-01"),
        ("{{ name|wordwrap(2)|indent(1) }}", "an\n n"),
        ("{{ name|center(5) }}|{{ name|truncate(2, true, '', 0) }}", " ann |an"),
        (
            "{% for x in 'ab' %}{{ loop.cycle(1, 2) }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
            "1a,2b",
        ),
        ("{% macro b(x) %}<{{ x }}>{% endmacro %}{{ b(name) }}{% set n = 3 %}{{ n }}", "<ann>3"),
        ("{{ ['a', 'b']|map('upper')|join }} {{ [1, 5]|select('gt', 3)|list }}", "AB 5"),
        ("{%- if name -%} x {%- endif %} y", "x y"),
    ],
)
def test_expressions_mean_what_a_sender_expects(template: str, text: str) -> None:
    values = {
        "points": "12",
        "price": "1,5",
        "price2": Decimal("1.50"),
        "day": date(2026, 5, 1),
        "name": "ann",
        "c": {"name": "N", "items": "own"},
    }
    assert said(template, **values) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' - 1 }}",
        "{{ 'a' < 1 }}",
        "{{ 'x'|round }}",
        "{{ ['x']|sum }}",
        "{{ {} }}",
        "{{ [[1]] }}",
        "{{ '%d'|format('x') }}",
        "{{ '%s %s'|format('x') }}",
        "{% for x in 5 %}{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ (-1) ** 0.5 }}",
        "{% macro m() %}{% endmacro %}{{ m }}",
        "{% for x in [1] %}{{ loop }}{% endfor %}",
        "{{ 'a'.join }}",
        "{{ name|replace }}",
    ],
)
def test_what_cannot_be_computed_is_said(template: str) -> None:
    with pytest.raises(EmailError) as caught:
        said(template)
    assert caught.value.line == 1
    assert "Error" not in str(caught.value)


def test_markup_is_kept_apart_from_text_in_html() -> None:
    def shown(template: str) -> str:
        return CompiledTemplate(template, "html", HTML).render({"a": "<&>", "b": "<b>x</b>"}, RenderBudget())

    assert shown("{{ a }}|{{ a|e }}|{{ b|safe }}") == "&lt;&amp;&gt;|&lt;&amp;&gt;|<b>x</b>"
    assert shown("{{ b|safe ~ a }}") == "<b>x</b>&lt;&amp;&gt;"
    assert shown("{{ [b|safe, a]|join(' & ') }}") == "<b>x</b> &amp; &lt;&amp;&gt;"
    assert shown("{{ a|replace('&', b) }}") == "&lt;&lt;b&gt;x&lt;/b&gt;&gt;"
    assert shown("{% set k %}<i>{{ a }}</i>{% endset %}{{ k }}") == "<i>&lt;&amp;&gt;</i>"
    assert shown("{{ a|default('<') }}{{ none|default('<') }}") == "&lt;&amp;&gt;&lt;"


def test_control_characters_and_odd_line_ends_do_not_get_into_an_email() -> None:
    assert said("{{ a }}", a="x\r\ny\rz\x00\x0b\x1b\x85\ud800\u2028!") == "x\ny\nz\u2028!"


YEARLESS = DayAndMonth.of(date(1604, 5, 14))


@pytest.mark.parametrize(
    ("pattern", "ru", "en"),
    [
        ("d MMMM", "14 мая", "14 May"),
        ("d MMMM y", "14 мая", "14 May"),
        ("d MMMM y 'г'.", "14 мая", "14 May"),
        ("EEEE, d MMMM y", "14 мая", "14 May"),
        ("dd.MM.yyyy", "14.05", "14.05"),
        ("yyyy-MM-dd", "05-14", "05-14"),
        ("%d.%m.%Y", "14.05", "14.05"),
        ("%B %d, %Y", "мая 14", "May 14"),
        ("short", "14.05", "5/14"),
        ("medium", "14 мая", "May 14"),
        ("long", "14 мая", "May 14"),
        ("full", "14 мая", "May 14"),
        ("y", "", ""),
        ("%Y", "", ""),
        ("EEEE", "", ""),
    ],
)
def test_a_date_without_a_year_is_formatted_without_it(pattern: str, ru: str, en: str) -> None:
    for locale, expected in (("ru", ru), ("en", en)):
        for value in (YEARLESS, "1604-05-14", "1604-05-14T00:00:00Z", "--05-14", "--0514", "0000-05-14"):
            assert said("{{ day|date(pattern) }}", locale, day=value, pattern=pattern) == expected


@pytest.mark.parametrize("spelled", ["d", "d|string", "d|upper", "d ~ ''", "[d]|join", "d|urlencode", "d|e"])
def test_a_date_without_a_year_prints_day_and_month(spelled: str) -> None:
    assert said("{{ " + spelled + " }}", d=YEARLESS) == "14.05"


def test_the_age_of_a_birthday_without_a_year_is_unknown() -> None:
    values: dict[str, object] = {"birthday": YEARLESS, "today": date(2026, 5, 14)}
    assert said("{{ today.year - birthday.year }}", **values) == ""
    assert said("{{ birthday.year|default('?') }}, {{ birthday.weekday() }}", **values) == "?, "
    for condition in (
        "today.year - birthday.year >= 18",
        "today.year - birthday.year < 18",
        "birthday < '2008-05-14'",
        "birthday > today",
        "birthday <= today",
    ):
        assert said("{% if " + condition + " %}yes{% else %}no{% endif %}", **values) == "no", condition
    same_day = "birthday.month == today.month and birthday.day == today.day"
    assert said("{% if " + same_day + " %}yes{% endif %}", **values) == "yes"
