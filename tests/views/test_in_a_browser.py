"""Tests that need a browser: pages without scripts, by keyboard, dark, narrow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.db import utcnow
from mailganer.models import Account, Sender

from ..support.factories import Factory
from ..support.ports import free_port
from ..support.smtp import SMTPServer
from ..support.web import served

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def address(ini_values: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """The application behind a real web server."""
    port = free_port()
    ini_values["mailganer.public_url"] = f"http://127.0.0.1:{port}"
    with served(request.getfixturevalue("wsgi_app"), port) as address:
        yield address


def give_account(page: Any, server: SMTPServer) -> None:
    """Fill in the settings of a mail account on the sign-in page, and sign in."""
    page.locator("details.fold summary").click()
    page.locator("#host").fill(server.host)
    page.locator("#port").fill(str(server.port))
    page.locator("#security").select_option("none")
    page.locator("#password").fill("secret")
    page.locator("button.button-primary").click()


@pytest.fixture
def enter(address: str, smtp_server: SMTPServer) -> Callable[[Any], None]:
    """Sign a browser's page in by the form, as anna@example.com."""

    def enter(page: Any) -> None:
        page.goto(address)
        page.get_by_role("textbox").fill("anna@example.com")
        page.locator("form button").first.click()
        give_account(page, smtp_server)
        page.wait_for_url("**/campaigns")

    return enter


@dataclass(frozen=True)
class SignedIn:
    """A browser's page after sign-in, and rows of the account."""

    page: Any
    account: Account
    sender: Sender


@pytest.fixture
def signed_in(
    new_page: Callable[..., Any], enter: Callable[[Any], None], session: Session
) -> Callable[..., SignedIn]:
    """Open a browser's page with these options, and sign in."""

    def signed_in(**options: Any) -> SignedIn:
        page = new_page(**options)
        enter(page)
        account, sender = session.scalars(select(Account)).one(), session.scalars(select(Sender)).one()
        session.commit()  # release the only writer of SQLite
        return SignedIn(page, account, sender)

    return signed_in


def test_a_form_sent_at_another_name_ends_at_the_public_address(
    new_page: Callable[..., Any], address: str, smtp_server: SMTPServer
) -> None:
    page = new_page()
    elsewhere = address.replace("127.0.0.1", "localhost")
    page.goto(f"{elsewhere}/sign-in?email=anna@example.com")
    give_account(page, smtp_server)
    page.wait_for_url(f"{address}/sign-in?next=%2Fcampaigns")


def test_everything_works_without_scripts(
    new_page: Callable[..., Any], enter: Callable[[Any], None], address: str
) -> None:
    page = new_page(java_script_enabled=False)
    enter(page)
    page.goto(f"{address}/senders")
    page.get_by_role("link", name="anna@example.com").click()
    page.get_by_role("button", name="Remove sender").click()
    dialog = page.get_by_role("dialog")
    assert dialog.is_visible()
    dialog.get_by_role("button", name="Remove sender").click()
    assert page.get_by_text("No senders yet").is_visible()


def test_the_users_theme_wins_over_that_of_the_system(
    new_page: Callable[..., Any], enter: Callable[[Any], None], address: str
) -> None:
    page = new_page(color_scheme="light")
    enter(page)
    light = _background(page)
    page.locator(".who summary").click()
    page.locator("button[name=theme][value=dark]").click()
    page.wait_for_load_state()
    assert _background(page) != light
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_the_menu_is_reached_and_left_by_keyboard(
    new_page: Callable[..., Any], enter: Callable[[Any], None], address: str
) -> None:
    page = new_page()
    enter(page)
    page.goto(f"{address}/settings")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator(".who summary").focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.locator(".who-menu").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".who-menu").is_visible()


def test_the_computers_time_zone_is_taken_over(
    new_page: Callable[..., Any], enter: Callable[[Any], None], address: str
) -> None:
    page = new_page(timezone_id="Asia/Yekaterinburg")
    enter(page)
    page.goto(f"{address}/settings")
    assert page.locator("#timezone").input_value() == "Asia/Yekaterinburg"


@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
def test_nothing_is_wider_than_a_phone_and_every_button_fits_a_finger(
    new_page: Callable[..., Any], enter: Callable[[Any], None], address: str, locale: str
) -> None:
    page = new_page(viewport=PHONE, locale=locale, has_touch=True)
    enter(page)
    for path in ("/senders", "/senders/1", "/senders/new?email=b@example.org", "/settings", "/plan"):
        page.goto(address + path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels wider than a phone"
        low = page.evaluate(
            "[...document.querySelectorAll('button, .button, select, input:not([type=hidden])')]"
            ".map(e => [e.outerHTML.slice(0, 80), e.getBoundingClientRect().height])"
            ".filter(([_html, height]) => height > 0 && height < 44)"
        )
        assert low == [], path


def _background(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))


@pytest.mark.parametrize("scripts", [True, False])
def test_undo_has_the_focus_and_keeps_it(
    signed_in: Callable[..., SignedIn],
    address: str,
    make: Factory,
    scripts: bool,
) -> None:
    here = signed_in(java_script_enabled=scripts)
    page, account, sender = here.page, here.account, here.sender
    readers = make.list(account)
    make.subscriber(account, lists=(readers,))
    draft = make.campaign(account, (readers,), (sender,))
    make.commit()
    page.goto(f"{address}/campaigns/{draft.id}/send")
    page.locator("main form[action$='/send'] button").click()
    page.wait_for_url("**/progress")
    if not scripts:  # the next page opens automatically when Undo has expired
        assert int(page.locator("noscript meta").get_attribute("content") or 0) >= 9
    else:
        page.wait_for_timeout(1500)  # the countdown has been replaced
    page.keyboard.press("Enter")
    page.wait_for_url("**/check")
    assert page.get_by_text("No emails were sent").is_visible()


def test_a_button_pressed_while_the_page_follows_the_sending_is_not_lost(
    signed_in: Callable[..., SignedIn],
    address: str,
    make: Factory,
) -> None:
    here = signed_in()
    page, account, sender = here.page, here.account, here.sender
    readers = make.list(account)
    campaign = make.campaign(account, (readers,), (sender,), status="sending", started_at=utcnow())
    make.subscriber(account, lists=(readers,))
    make.commit()
    page.goto(f"{address}/campaigns/{campaign.id}/progress")
    page.get_by_role("button", name="Pause").hover()
    page.mouse.down()
    for _ in range(2):  # the responses that would have replaced the button
        with page.expect_response("**/progress"):
            pass
    page.wait_for_timeout(100)
    page.mouse.up()
    page.get_by_role("button", name="Resume sending").wait_for()


def test_a_fold_stays_open_when_its_part_is_replaced(
    signed_in: Callable[..., SignedIn],
    address: str,
    make: Factory,
) -> None:
    here = signed_in()
    page, account, sender = here.page, here.account, here.sender
    first, second = make.list(account, name="First"), make.list(account, name="Second")
    make.subscriber(account, lists=(first, second))
    make.subscriber(account, lists=(second,), status="unsubscribed")
    draft = make.campaign(account, (first,), (sender,))
    make.commit()
    page.goto(f"{address}/campaigns/{draft.id}/target")
    page.get_by_text("Second").first.click()
    fold = page.locator("#audience details", has_text="Excluded subscribers")
    fold.wait_for()
    fold.locator("summary").click()
    with page.expect_response("**/target"):
        page.get_by_text("First").first.click()
    page.wait_for_timeout(300)
    assert fold.get_attribute("open") is not None


@pytest.mark.parametrize("width", [1280, 390])
def test_the_days_of_a_forecast_fit_beside_their_bars_in_russian(
    signed_in: Callable[..., SignedIn],
    address: str,
    make: Factory,
    width: int,
) -> None:
    here = signed_in(locale="ru-RU", viewport={"width": width, "height": 844})
    page, account, sender = here.page, here.account, here.sender
    sender.per_day, readers = 5, make.list(account)
    make.subscribers(account, 30, readers)
    september = utcnow().replace(year=utcnow().year + 1, month=9, day=22, hour=9)
    draft = make.campaign(account, (readers,), (sender,), send_at=september)
    make.commit()
    page.goto(f"{address}/campaigns/{draft.id}/when")
    boxes = page.locator(".day-line").evaluate_all(
        "lines => lines.map(line => [...line.children].filter(e => e.getBoundingClientRect().width)"
        ".map(e => [e, e.getBoundingClientRect()])"
        ".map(([e, box]) => [box.left, box.right, e.scrollWidth > e.clientWidth, box.height]))"
    )
    assert len(boxes) > 2
    for parts in boxes:
        name = parts[0]
        assert not name[2], "the date is cut off or runs into the bar"
        assert name[3] < 32, "the date takes two lines"
        assert all(left[1] <= right[0] for left, right in pairwise(parts))


def test_a_comma_in_a_whole_number_is_not_lost_on_the_way(
    signed_in: Callable[..., SignedIn], address: str
) -> None:
    here = signed_in()
    page = here.page
    page.goto(f"{address}/senders/{here.sender.id}")
    page.locator("#per_day").press_sequentially("2,525")
    page.get_by_role("button", name="Save").first.click()
    page.get_by_text("Enter a whole number.", exact=True).first.wait_for()
    assert page.locator("#per_day").input_value() == "2,525"
