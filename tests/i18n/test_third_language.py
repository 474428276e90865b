"""A folder and a catalogue make a language: every page, every email and every choice has it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bs4 import BeautifulSoup
from webtest import TestApp

from mailganer.i18n.footer_loader import footer_texts
from mailganer.i18n.languages import language_names, language_of
from mailganer.i18n.ready_templates import ready_templates
from mailganer.i18n.sample_data import sample_list_name
from mailganer.i18n.translator import translate_sentence, translator

from ..support import showroom
from ..support.showroom.words import WORDS
from ..support.third_language import CODE, FORMS, third_language, wide

WALKED = frozenset(
    """
    home sign-in-smtp nothing-here-signed-out unsubscribe empty-campaigns campaigns ready-target ready-email
    ready-check ready-when ready-send progress-waiting report recipients delivery-failed people person lists
    import import-ready import-done template-ready sender-failing sender-new-smtp plan settings
    """.split()  # noqa: SIM905
)
SILENT = (
    "script",
    "style",
    "template",
    "code",
    "pre",
    "kbd",
    "samp",
    "textarea",
    "iframe",
    "[data-verbatim]",
)
SPOKEN = ("title", "alt", "placeholder", "aria-label", "aria-description")
# The same in every language: names, units, and what users and the operator have written.
NAMES = frozenset(
    """
    Mailganer Gmail English HTML CSV SMTP UTC Message ID Chrome Windows CRM News Anna shop anna weaver
    city town gorod imya familiya pochta den_rozhdeniya
    """.split()  # noqa: SIM905
)
PLANS = {
    "mailganer.plan.free.title.uk": "Безкоштовний",
    "mailganer.plan.pro.title.uk": "Професійний",
    "mailganer.plan.pro.price.uk": "900 ₴",
    "mailganer.plan.studio.title.uk": "Студія",
    "mailganer.plan.studio.price.uk": "4 900 ₴",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with third_language(tmp_path / "languages"):
        yield tmp_path


@pytest.fixture
def room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[showroom.Showroom]:
    monkeypatch.setitem(WORDS, CODE, replace(WORDS["ru"], token="Сайт"))
    ini = showroom._ini
    monkeypatch.setattr(showroom, "_ini", lambda *places: ini(*places) | PLANS)
    with showroom.open_showroom(folder) as room:
        yield room


def latin(text: str) -> list[str]:
    """Latin words of a text, without addresses and names."""
    if text.startswith("Mozilla/5.0"):  # what a mail program calls itself
        return []
    text = re.sub(r"\S+@\S+|\S+://\S+|[\w-]+(\.[\w-]+)+|{[{%].*?[%}]}|“[a-z_]+”", " ", text)
    return [word for word in re.findall(r"[A-Za-z][A-Za-z_]+", text) if word not in NAMES]


def untranslated(page: BeautifulSoup) -> list[str]:
    for element in page.select(", ".join(SILENT)):
        element.decompose()
    for element in page.find_all("wbr"):
        element.decompose()
    page.smooth()
    texts = [text for text in page.stripped_strings if latin(text)]
    for element in page.find_all(True):
        texts += [element[name] for name in SPOKEN if latin(element.get(name, ""))]
    return texts


def wrong_dates(page: BeautifulSoup) -> list[str]:
    """Dates with a tooltip that is not the date in this language, in one of the two zones of the pages."""
    zones = [translator(CODE, zone) for zone in (UTC, ZoneInfo("Europe/London"))]
    found = [(each["title"], each["datetime"]) for each in page.select("time[datetime]")]
    return [
        title
        for title, at in found
        if "T" in at and title not in {zone.exact(datetime.fromisoformat(at)) for zone in zones}
    ]


def wrong_forms(page: BeautifulSoup) -> list[str]:
    """Counted sentences in another form than that of the number they begin with."""
    kinds = dict(zip(FORMS, ("one", "few", "many"), strict=True))
    counted = re.findall(rf"([{FORMS}])(\d[\d\xa0]*)", page.get_text())
    rule = language_of(CODE).plural_form
    return [form + number for form, number in counted if rule(int(re.sub(r"\D", "", number))) != kinds[form]]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_page_is_in_a_language_made_of_a_folder_and_a_catalogue(room: showroom.Showroom) -> None:
    faults, walked, forms, dates = [], set(), set(), 0
    for stop in room.stops(CODE):
        if stop.name not in WALKED:
            continue
        app: Any = TestApp(room.app, extra_environ={"HTTP_HOST": room.home.removeprefix("http://")})
        for name, value in room.cookies(stop.who, CODE).items():
            app.set_cookie(name, value)
        answer = app.get(stop.path, headers={"Accept-Language": "uk-UA,en;q=0.5"}, expect_errors=True)
        page = BeautifulSoup(answer.text, "html.parser")
        walked.add(stop.name)
        forms |= set(FORMS) & set(page.get_text())
        dates += len(page.select("time"))
        language = page.html["lang"]
        faults += [f"{stop.name}: lang={language}"] if language != CODE else []
        for kind in (wrong_dates, wrong_forms, untranslated):
            faults += [f"{stop.name}: {kind.__name__} {fault!r}" for fault in kind(page)]
    assert faults == []
    assert walked == WALKED
    assert forms == set(FORMS)
    assert dates > 20


def test_the_language_is_offered_and_its_texts_are_used(folder: Path) -> None:
    assert dict(language_names())[CODE] == "Українська"
    assert footer_texts(CODE).unsubscribe == "Відписатися"
    assert all(ready.name.startswith("★") for ready in ready_templates(CODE))
    assert sample_list_name(CODE) == sample_list_name("ru")
    at = datetime(2026, 12, 4, 7, 5, tzinfo=UTC)
    assert translator(CODE, ZoneInfo("Europe/Kyiv")).format_datetime(at) == "4 груд. 2026 р., 09:05"
    assert translate_sentence("Draft", CODE) == "Draft"
    assert translator(CODE).translate("Draft", domain="mailganer") == wide("Draft")


def test_a_language_that_was_removed_is_no_more() -> None:
    assert language_of(CODE).code == "en"
    assert CODE not in dict(language_names())
