"""The whole journey in a browser: sign in, import, write, send, read, look at the report.

Screenshots of every page are kept in the folder MAILGANER_SCREENSHOTS, if it is set.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.ports import wait_until

from .accessibility import serious_findings

CSV_FILE = """Почта;Имя;Фамилия;День рождения;Город
anna@example.org;Анна;Иванова;14.05.1990;Псков
petr@example.org;Пётр;Ёлкин;;Тверь
bad address;Без;Адреса;;
"""
READERS = "Zebra watchers"
EMAIL = """<h1>{{ first_name }}, hello</h1>
<p>How is {{ gorod }}? <a href="https://example.com/news">The news</a></p>
<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>"""
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LOOKS = [("en", WIDE, "light"), ("ru", PHONE, "dark")]


class Walk:
    """A page that runs axe-core at every stop, and takes a screenshot if there is a folder for it."""

    def __init__(self, page: Any, home: str, screenshots: Path | None, language: str) -> None:
        self.page, self.home, self.screenshots, self.language = page, home, screenshots, language
        self.findings: list[str] = []

    def go(self, path: str, name: str = "") -> None:
        self.page.goto(f"{self.home}{path}")
        self.stop(name or path.strip("/").replace("/", "-") or "home")

    def press(self, selector: str) -> None:
        with self.page.expect_navigation():
            self.page.locator(selector).first.click()

    def stop(self, name: str) -> None:
        self.page.wait_for_load_state("load")
        # Not with a function in the page: its policy forbids repeated evaluation.
        self.page.locator(".htmx-request").first.wait_for(state="detached")
        for frame in self.page.frames:  # those of emails are drawn later than the page around them
            frame.wait_for_load_state("load")
        if self.screenshots:
            self.page.screenshot(path=self.screenshots / f"{name}.png", full_page=True)
        self.findings += serious_findings(self.page)
        self.assert_nothing_is_cut_off()

    def assert_nothing_is_cut_off(self) -> None:
        wide = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 1, f"{self.page.url} scrolls sideways by {wide} px"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The installation that ``make demo`` starts."""
    installation = Installation(tmp_path_factory.mktemp("demo"), demo=True, mailganer__development="true")
    installation.start()
    yield installation
    installation.stop()


@pytest.fixture(params=LOOKS, ids=lambda look: "-".join((look[0], str(look[1]["width"]), look[2])))
def walk(request: pytest.FixtureRequest, demo: Installation, new_page: Callable[..., Any]) -> Walk:
    language, viewport, scheme = request.param
    screenshots = None
    if folder := os.environ.get("MAILGANER_SCREENSHOTS"):
        screenshots = Path(folder) / request.node.callspec.id
        screenshots.mkdir(parents=True, exist_ok=True)
    page = new_page(
        locale={"en": "en-GB", "ru": "ru-RU"}[language],
        viewport=viewport,
        color_scheme=scheme,
        timezone_id="Europe/Moscow",
    )
    return Walk(page, demo.url, screenshots, language)


@pytest.mark.timeout(240)
def test_from_the_first_page_to_an_open_on_the_report(walk: Walk, tmp_path: Path) -> None:
    page = walk.page
    walk.go("/")
    assert page.locator("html").get_attribute("lang") == walk.language
    walk.press("form[action$='/sign-in/demo'] button")
    walk.stop("welcome")

    bring_people(walk, tmp_path)
    campaign = write_an_email(walk)
    send(walk, campaign)

    walk.go("/outbox")
    page.locator("main a[href*='/outbox/']").first.click()
    # The email is in a frame, and its pixel comes from us, so opening it counts.
    page.frame_locator("iframe").locator("a", has_text="The news").wait_for()
    walk.stop("outbox-email")
    follow_its_link(page)
    way_out = page.frame_locator("iframe").locator("a", has_text="Unsubscribe").get_attribute("href")

    walk.go(f"{campaign}/report", "report")
    report = page.locator("main").inner_text()
    assert "https://example.com/news" in report
    assert opened(page, campaign) == 1, report
    for path in (
        "/subscribers",
        "/lists",
        "/templates",
        "/senders",
        "/plan",
        "/settings",
        "/campaigns",
        "/design",
    ):
        walk.go(path)
    leave(walk, way_out)
    assert walk.findings == []


def leave(walk: Walk, way_out: str) -> None:
    """Unsubscribe with one button, and subscribe again with another."""
    walk.go(way_out.removeprefix(walk.home), "unsubscribe")
    assert walk.page.locator("button").count() == 1
    walk.press("button")
    walk.stop("unsubscribed")
    walk.press("form[action$='/undo'] button")
    walk.stop("unsubscribe-undone")


def opened(page: Any, campaign: str) -> int:
    """Return the report's counts of certain opens, possible opens and clicks."""
    links = page.locator(f"main a[href*='{campaign}/'][href*='clicked']").all_inner_texts()
    return max((int(text) for text in links if text.strip().isdecimal()), default=0)


WRITE_TO_THEM = "main form[action$='/campaigns/new'] button"


def bring_people(walk: Walk, folder: Path) -> None:
    page = walk.page
    walk.go("/subscribers/import")
    file = folder / "people.csv"
    file.write_text(CSV_FILE, "utf-8-sig")
    page.locator("input[type=file]").set_input_files(file)
    page.locator("select[name=list]").select_option("new")
    page.locator("input[name=name]").fill(READERS)
    walk.press("main form button.button-primary")
    page.locator("form[action$='/apply'] button").wait_for()
    assert page.locator("#rejected").inner_text().count("bad address") == 1
    walk.stop("import-columns")
    page.locator("form[action$='/apply'] button").click()
    page.locator(WRITE_TO_THEM).wait_for()
    walk.stop("import-done")


def write_an_email(walk: Walk) -> str:
    """Create a campaign to the imported subscribers; return its path."""
    page = walk.page
    walk.press(WRITE_TO_THEM)
    campaign = re.search(r"(/campaigns/\d+)", page.url)
    assert campaign
    page.locator("input[name=name]").fill("Autumn")
    page.locator("main label", has_text=READERS).locator("input:checked").wait_for(state="attached")
    walk.stop("campaign-people")
    walk.press("main button[name=go]")
    page.locator("input[name=subject]").fill("{{ first_name }}, news for you")
    page.locator("input[name=preheader]").fill("Two minutes of reading")
    page.locator("textarea[name=html]").fill(EMAIL)
    # The draft is saved while typing, and shown as it was saved.
    page.frame_locator("#email-frame").locator("a", has_text="The news").wait_for()
    walk.stop("campaign-email")
    walk.press("main button[name=go]")
    return campaign[1]


def send(walk: Walk, campaign: str) -> None:
    page = walk.page
    walk.stop("campaign-check")
    walk.go(f"{campaign}/when", "campaign-when")
    walk.press("main button[name=go]")
    walk.stop("campaign-send")
    assert "2" in page.locator("main button.button-primary").inner_text()
    others = emails_in_the_outbox(walk)  # of the journey before
    # At the end of the countdown the page reloads itself: not before it has been looked at.
    page.route(PROGRESS, wait_for_the_look)
    walk.press("main button.button-primary")
    walk.stop("campaign-progress")
    page.unroute(PROGRESS)
    page.locator("#countdown").wait_for(state="detached")
    page.wait_for_load_state("load")
    page.goto(f"{walk.home}{campaign}/report")
    wait_until(lambda: emails_in_the_outbox(walk) >= others + 2, 120, what="the emails", every=0.5)


PROGRESS = re.compile(r"/campaigns/\d+/progress$")


def wait_for_the_look(route: Any) -> None:
    """Let a page load, and answer its automatic requests with nothing new."""
    if route.request.is_navigation_request():
        route.continue_()
    else:
        route.fulfill(status=204)


def emails_in_the_outbox(walk: Walk) -> int:
    return walk.page.request.get(f"{walk.home}/outbox").text().count("/outbox/")


def follow_its_link(page: Any) -> None:
    email = page.frame_locator("iframe").locator("a", has_text="The news")
    address = email.get_attribute("href")
    assert "/c/" in address
    answer = page.request.get(address, max_redirects=0)
    assert answer.status == 302
    assert answer.headers["location"] == "https://example.com/news"
