"""The email step in a real browser: what htmx and a small script add to the form."""

import re

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from mailganer.models import Account, Campaign, Sender

from ..support.ports import free_port, wait_until
from ..support.web import served

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def address(ini_values, request):
    """The application on its own port."""
    port = free_port()
    ini_values["mailganer.public_url"] = f"http://127.0.0.1:{port}"
    with served(request.getfixturevalue("wsgi_app"), port) as address:
        yield address


@pytest.fixture
def email_page(page, address, smtp_server, make, session):
    """A signed-in browser on the email page of a draft to two recipients."""
    page.goto(f"{address}/sign-in?email=anna@example.com")
    page.click("details:has([name=host]) > summary")
    page.fill("[name=host]", smtp_server.host)
    page.fill("[name=port]", str(smtp_server.port))
    page.select_option("[name=security]", "none")
    page.fill("[name=password]", "secret")
    page.click("main button[type=submit]")
    page.wait_for_url(f"{address}/campaigns")
    account, sender = session.scalars(select(Account)).one(), session.scalars(select(Sender)).one()
    readers = make.list(account)
    make.subscriber(account, "olga@example.org", (readers,), first_name="Ольга")
    make.subscriber(account, "pyotr@example.org", (readers,))
    draft = make.campaign(account, (readers,), (sender,))
    make.commit()
    page.goto(f"{address}/campaigns/{draft.id}/email")
    return page


def test_typing_is_saved_and_the_preview_follows(email_page):
    page = email_page
    email = page.frame_locator("#email-frame").locator("body")
    expect(email).to_contain_text("Dear Ольга")
    page.fill("#subject", "Typed for {{ first_name }}")
    expect(page.locator("#inbox-subject")).to_have_text("Typed for {{ first_name }}")
    expect(page.locator("#inbox-subject")).to_have_text("Typed for Ольга")
    page.fill("#html", "<p>Another letter, {{ first_name|default('you') }}</p>")
    expect(email).to_contain_text("Another letter, Ольга")
    page.reload()
    expect(page.locator("#subject")).to_have_value("Typed for {{ first_name }}")


def test_a_mistake_is_said_while_typing_and_removed_when_fixed(email_page):
    page = email_page
    page.fill("#html", "<p>one</p>\n<p>{{ first_name</p>")
    expect(page.locator("#saved")).to_contain_text("line 2")
    page.fill("#html", "<p>one</p>\n<p>{{ first_name }}</p>")
    expect(page.locator("#saved")).to_contain_text("Saved at")


def test_preview_as_another_recipient_keeps_what_is_written(email_page):
    page = email_page
    page.fill("#html", "<p>Hello {{ first_name|default('you') }}</p>")
    expect(page.locator("#saved")).to_contain_text("Saved at")
    page.get_by_role("link", name="Hardest to render").click()
    expect(page.locator(".chooser-who")).to_contain_text("pyotr@example.org")
    expect(page.frame_locator("#email-frame").locator("body")).to_contain_text("Hello you")
    expect(page.locator("#html")).to_have_value("<p>Hello {{ first_name|default('you') }}</p>")


def test_wide_is_as_wide_as_emails_are_and_a_phone_shows_the_phone_first(email_page):
    page = email_page
    frame = page.locator("#email-frame")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert frame.evaluate("frame => frame.clientWidth") >= 640
    assert frame.bounding_box()["width"] < 640  # scaled down, because its column is narrower
    page.locator("label:has(#view-phone)").click()
    assert frame.evaluate("frame => frame.clientWidth") <= 390
    page.reload()
    page.set_viewport_size({"width": 390, "height": 844})
    assert frame.evaluate("frame => frame.clientWidth") <= 390
    page.locator("label:has(#view-wide)").click()
    assert frame.evaluate("frame => frame.clientWidth") >= 640


def test_what_stands_in_place_of_an_email_goes_when_there_is_one(email_page):
    page = email_page
    note = page.locator("#email-note")
    page.fill("#html", "<p>{{ first_name</p>")
    expect(note).to_contain_text("cannot be previewed yet")
    expect(page.locator("#email-frame")).to_be_hidden()
    page.fill("#html", "<p>{{ first_name }}</p>")
    expect(note).to_be_hidden()
    expect(page.locator("#email-frame")).to_be_visible()


def test_variables_go_in_where_the_cursor_is_and_tab_indents(email_page):
    page = email_page
    page.fill("#html", "")
    page.focus("#html")
    page.keyboard.press("Tab")
    page.get_by_text("Insert a variable").click()
    page.get_by_role("button", name="{{ last_name }}").click()
    expect(page.locator("#html")).to_have_value("  {{ last_name }}")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "html"


def test_a_save_takes_nothing_away_from_under_the_hand(email_page):
    page = email_page
    page.get_by_text("Insert a variable").click()
    button = page.get_by_role("button", name="{{ last_name }}")
    before = button.element_handle()
    page.fill("#html", "<p>Hello {{ first_name|default('you') }}, dear {{ last_name }}</p>")
    expect(page.locator("#email-chips")).to_contain_text("last_name")
    expect(button).to_be_visible()
    assert before.evaluate("button => button.isConnected")


def test_a_scripted_email_runs_nothing(email_page):
    page = email_page
    said = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.fill("#html", "<p>quiet</p><img src=x onerror=alert(1)><svg onload=alert(2)></svg>")
    expect(page.frame_locator("#email-frame").locator("body")).to_contain_text("quiet")
    page.wait_for_timeout(300)
    assert said == []


def test_everything_around_the_email_follows_a_save_without_a_reload(email_page, session):
    page = email_page
    draft = session.scalars(select(Campaign)).one()
    draft.name = draft.html = ""
    session.commit()
    page.reload()
    step, test, on = page.locator("#step-email"), page.locator("#test-button"), page.locator("#go-on")
    expect(test).to_be_disabled()
    expect(page.locator("#email-begin")).to_contain_text("Start your email")
    expect(step).to_have_class(re.compile("step-missing"))
    expect(on).not_to_have_class(re.compile("button-primary"))

    page.fill("#subject", "A subject for all")
    page.fill("#html", "<p>Hello {{ first_name|default('you') }}</p>")
    expect(test).to_be_enabled()
    expect(page.locator("#email-begin")).to_be_empty()
    expect(step).to_have_class(re.compile("step-done"))
    expect(on).to_have_class(re.compile("button-primary"))
    expect(page.locator("h1")).to_have_text("A subject for all")
    expect(page.locator("#looking-subject")).to_have_text("A subject for all")
    expect(page).to_have_title("A subject for all · Mailganer")
    expect(page.get_by_role("link", name="Choose a template")).to_be_visible()

    check = page.locator("#step-check")
    expect(check).to_have_class(re.compile("step-ready"))
    page.fill("#html", "<p>Hello {{ frist_name }}</p>")
    expect(step).to_have_class(re.compile("step-problem"))
    expect(check).to_have_class(re.compile("step-problem"))
    page.fill("#html", "<p>Hello {{ frist_name }}!</p>")
    expect(page.frame_locator("#email-frame").locator("body")).to_contain_text("!")
    expect(step).to_have_class(re.compile("step-problem"))
    page.fill("#html", "<p>Hello {{ first_name</p>")
    expect(test).to_be_disabled()
    expect(page.locator("#test-help")).to_contain_text("Fix the email first")
    page.locator("#go-on").focus()
    page.fill("#html", "<p>Hello</p>")
    expect(step).to_have_class(re.compile("step-done"))
    expect(check).to_have_class(re.compile("step-ready"))


def test_the_steps_follow_a_choice_of_recipients_and_of_a_time_without_a_reload(email_page):
    page = email_page
    people, check, when = (page.locator(f"#step-{name}") for name in ("target", "check", "when"))
    # A busy process that reads emails makes the step "todo" until the next page: not what is tested here.
    expect(page.frame_locator("#email-frame").locator("body")).to_contain_text("Dear Ольга")
    wait_until(lambda: page.reload() and "step-ready" in check.get_attribute("class"), what="the check")
    page.goto(page.url.replace("/email", "/target"))
    expect(check).to_have_class(re.compile("step-ready"))
    page.locator("label:has([name=list])").click()
    expect(people).to_have_class(re.compile("step-missing"))
    expect(check).to_have_class(re.compile("step-todo"))
    page.locator("label:has([name=list])").click()
    expect(people).to_have_class(re.compile("step-done"))
    page.goto(page.url.replace("/target", "/when"))
    page.locator("label:has([value=later])").click()
    expect(when).to_have_class(re.compile("step-done"))
    page.locator("label:has([value=now])").click()
    expect(when).to_have_class(re.compile("step-todo"))


def test_the_preview_of_a_short_email_is_as_tall_as_the_email(email_page):
    page = email_page
    paper = page.locator(".email-paper")
    page.fill("#html", "<p>Short.</p>")
    expect(page.locator("#email-note")).to_have_attribute("data-size", "small")
    assert paper.bounding_box()["height"] < 300
    page.fill("#html", "<p>Long enough to fill a page.</p>" * 40)
    expect(page.locator("#email-note")).to_have_attribute("data-size", "")
    assert paper.bounding_box()["height"] > 600


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
@pytest.mark.parametrize("locale", ["en", "ru"])
def test_what_came_of_a_test_email_is_said_beside_the_button_within_sight(
    email_page, session, width, height, locale
):
    page = email_page
    session.scalars(select(Account)).one().locale = locale
    session.commit()
    page.set_viewport_size({"width": width, "height": height})
    page.reload()
    page.locator("#test-button").click()
    said = page.locator("#test [role=status]")
    expect(said).to_be_visible(timeout=20_000)
    expect(said).to_be_in_viewport(ratio=1)
    expect(page.locator("main > [role=status].flash")).to_have_count(0)
