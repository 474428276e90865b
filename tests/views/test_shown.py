"""Formatting of numbers, dates, states and charts; the vendored files of the pages."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from markupsafe import Markup
from pyramid import testing

import mailganer
from mailganer.errors import InputError, LoginRefused, _
from mailganer.i18n.sentences import with_reply
from mailganer.i18n.time_zones import check_time_zone, time_zone_choices, time_zone_name
from mailganer.i18n.translator import translator
from mailganer.models import CampaignStatus, DeliveryStatus, ImportStatus, SenderStatus, SubscriberStatus
from mailganer.views.charts import make_chart, nice_top, shares
from mailganer.views.status_badges import state_word
from mailganer.web import localization

VENDOR = Path(mailganer.__file__).parent / "static" / "vendor"
SENT_AT = datetime(2026, 12, 4, 7, 5, tzinfo=UTC)


@pytest.fixture
def speak() -> Any:
    """``speak("ru", "Europe/Moscow")`` sets the language and time zone of the page."""

    def speak(locale: str, timezone: str = "UTC") -> None:
        request = testing.DummyRequest(locale_name=locale, timezone=ZoneInfo(timezone))
        testing.setUp(request=request)

    yield speak
    testing.tearDown()


def test_times_are_shown_in_the_users_time_zone_and_exactly_in_the_tooltip(speak: Any) -> None:
    speak("en", "Europe/Moscow")
    shown = str(localization.show_datetime(SENT_AT))
    assert ">4\xa0Dec\xa02026, 10:05<" in shown
    assert 'datetime="2026-12-04T07:05:00+00:00"' in shown
    assert "Friday, 4 December 2026, 10:05:00 (Moscow Standard Time)" in shown
    speak("ru", "Europe/Moscow")
    assert ">4\xa0дек.\xa02026\xa0г., 10:05<" in str(localization.show_datetime(SENT_AT))
    assert "пятница, 4 декабря 2026" in str(localization.show_day(SENT_AT))


@pytest.mark.parametrize(
    ("distance", "english", "russian"),
    [
        (timedelta(minutes=-5), "5 minutes ago", "5 минут назад"),
        (timedelta(hours=2), "in 2 hours", "через 2 часа"),
        (timedelta(days=-40), "25 Oct 2026", "25 окт. 2026"),
    ],
)
def test_what_is_near_is_relative_and_what_is_far_has_a_date(
    speak: Any, distance: timedelta, english: str, russian: str
) -> None:
    speak("en")
    assert english in str(localization.relative(SENT_AT + distance, now=SENT_AT))
    speak("ru")
    assert russian in str(localization.relative(SENT_AT + distance, now=SENT_AT))


def test_numbers_follow_the_language(speak: Any) -> None:
    speak("en")
    assert (localization.number(1204), localization.percent(0.31)) == ("1,204", "31%")
    speak("ru")
    assert (localization.number(1204), localization.percent(0.31)) == (
        "1\N{NO-BREAK SPACE}204",
        "31\N{NO-BREAK SPACE}%",
    )


def test_every_time_zone_can_be_chosen_by_its_city() -> None:
    zones = dict(time_zone_choices("ru", SENT_AT))
    assert zones["Europe/Moscow"] == "UTC+03:00 · Москва"
    assert zones["Asia/Kolkata"].startswith("UTC+05:30")
    assert "Asia/Calcutta" not in zones  # the same under its old name, which a browser may have cached
    assert time_zone_name("Asia/Calcutta", "ru") == time_zone_name("Asia/Kolkata", "ru") == "Калькутта"
    assert len(zones) > 300
    for name in zones:
        assert check_time_zone(name) == name
    with pytest.raises(InputError):
        check_time_zone("Mars/Olympus")


def test_a_sentence_inside_a_sentence_is_translated_too() -> None:
    russian = translator("ru")
    error = _("This list does not exist.")
    sentence = _("Choose one of these languages: ${languages}.", mapping={"languages": error})
    assert russian.translate(error) != error
    assert russian.translate(error) in russian.translate(sentence)
    assert "Choose" not in russian.translate(sentence)


def test_a_servers_words_are_set_apart_and_taken_for_nothing_but_words(speak: Any) -> None:
    speak("en")
    reply = _("${host} says <no>. Its answer: ${reply}", mapping={"host": "<b>", "reply": "535 <i>"})
    assert localization.message_html(reply) == (
        '&lt;b&gt; says &lt;no&gt;. Its answer: <code class="reply">535 &lt;i&gt;</code>'
    )
    around = with_reply(LoginRefused(_("It says no."), "535 <i>"))
    assert localization.message_html(around) == 'It says no. <code class="reply">535 &lt;i&gt;</code>'
    inside = _("${address} cannot send: ${error}", mapping={"address": "a@b", "error": around})
    assert localization.message_html(inside) == f"a@b cannot send: {localization.message_html(around)}"
    assert localization.message_html("535 <i>") == "535 <i>"  # the template escapes it


def test_a_long_address_breaks_where_it_has_joints() -> None:
    long = "<a.name_that-is-long@mail.example.org"
    broken = "&lt;a.<wbr>name_<wbr>that-is-long@<wbr>mail.<wbr>example.<wbr>org"
    assert localization.breakable(f"{long} 14.05.1990") == f"{broken} 14.05.1990"
    assert localization.breakable("anna@example.org") == "anna@example.org"  # and can be found on the page


def test_a_short_word_in_a_headline_stays_with_the_next_one() -> None:
    assert localization.headline("Рассылки с почты, которая у вас есть") == (
        "Рассылки с\xa0почты, которая у\xa0вас есть"
    )
    assert localization.headline("Что «о нас» и о 3 и 4") == "Что «о\xa0нас» и\xa0о\xa03 и\xa04"
    assert localization.headline("A note: 5 or 6") == "A\xa0note: 5 or 6"
    assert localization.headline(Markup("с &lt;b") + "") == Markup("с\xa0&lt;b")
    tags = Markup('с <a class="a b" href="/">вами</a>')
    assert localization.headline(tags) == tags


@pytest.mark.parametrize(
    ("subject", "states"),
    [
        ("campaign", CampaignStatus),
        ("delivery", DeliveryStatus),
        ("subscriber", SubscriberStatus),
        ("people", SubscriberStatus),
        ("sender", SenderStatus),
        ("import", ImportStatus),
    ],
)
def test_every_state_has_a_word_and_an_icon(subject: str, states: Any) -> None:
    icons = (Path(mailganer.__file__).parent / "templates" / "icons.jinja2").read_text()
    for state in states:
        word = state_word(state, subject)
        assert str(word.text) != state.value, f"{subject} {state} has no word of its own"
        assert f'"{word.icon}":' in icons


@pytest.mark.parametrize("fits", ["wide", "narrow"])
def test_a_chart_stays_inside_its_frame(fits: str) -> None:
    chart = make_chart("Opens", [f"{hour}:00" for hour in range(48)], [("Opened", [0] * 47 + [1234])])
    drawing = getattr(chart, fits)
    for point in drawing.rows[0].points:
        assert drawing.frame.left <= point.x <= drawing.frame.right
        assert 0 <= point.y <= drawing.frame.height
    assert drawing.grid[-1].value == 2000
    assert len(drawing.ticks) <= drawing.frame.most_ticks + 1
    assert drawing.rows[0].total == 1234


def test_a_charts_axis_names_its_start_and_its_end() -> None:
    for count in range(2, 100):
        chart = make_chart("Opens", [str(i) for i in range(count)], [("Opened", [0] * count)])
        for drawing in (chart.wide, chart.narrow):
            assert [drawing.ticks[0].text, drawing.ticks[-1].text] == ["0", str(count - 1)]
            assert [drawing.ticks[0].edge, drawing.ticks[-1].edge] == ["first", "last"]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_a_chart_of_few_numbers_is_drawn_too(count: int) -> None:
    for kind in ("line", "bar"):
        chart = make_chart("x", [str(i) for i in range(count)], [("x", [0] * count)], kind=kind)
        assert len(chart.wide.rows[0].points) == len(chart.narrow.rows[0].points) == count
        assert len(chart.lines) == count


def test_the_axis_ends_at_a_number_whose_quarters_are_whole() -> None:
    assert [nice_top(n) for n in (0, 3, 5, 21, 99, 1000, 4001)] == [4, 4, 8, 40, 200, 2000, 8000]


def test_the_pieces_of_a_bar_fill_it() -> None:
    pieces = shares([("good", 820, "sent"), ("bad", 4, "not sent"), ("calm", 363, "waiting")])
    assert sum(piece.width for piece in pieces) == pytest.approx(100, abs=0.01)
    assert pieces[1].start == pieces[0].width
    assert [piece.width for piece in shares([("good", 0, "sent")])] == [0]


def test_vendored_files_are_listed_and_unchanged() -> None:
    listed = json.loads((VENDOR / "manifest.json").read_text())
    for entry in listed:
        content = (VENDOR / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["file"]
        assert (VENDOR / entry["licence_file"]).is_file()
        assert entry["version"] in entry["file"]
    known = {entry["file"] for entry in listed} | {entry["licence_file"] for entry in listed}
    found = {path.name for path in VENDOR.iterdir()} - {"README.md", "manifest.json"}
    assert found == known


@pytest.mark.parametrize(
    ("length", "english", "russian"),
    [
        (timedelta(seconds=5), "1 minute", "1 минута"),
        (timedelta(minutes=59), "59 minutes", "59 минут"),
        (timedelta(hours=24, minutes=1), "24 hours", "24 часа"),
        (timedelta(hours=47, minutes=59), "48 hours", "48 часов"),
        (timedelta(days=3, minutes=1), "3 days", "3 дня"),
    ],
)
def test_a_day_and_a_minute_are_not_two_days(
    speak: Any, length: timedelta, english: str, russian: str
) -> None:
    for locale, words in (("en", english), ("ru", russian)):
        speak(locale)
        assert localization.duration(length).replace("\N{NO-BREAK SPACE}", " ") == words
