"""The steps of a draft: all its pages show the same states, from the findings of the check."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import cycle
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailganer import campaigns
from mailganer.campaigns.check import quick
from mailganer.db import utcnow
from mailganer.errors import Busy
from mailganer.models import Account, Campaign, Sender, SenderStatus, Subscriber, SubscriberList
from mailganer.rendering import render_process

from ..support.factories import Factory
from ..support.statements import statements

PAGES = ("target", "email", "check", "when", "send")
MORE_PAGES = ("email?as=hardest", "email/template")

EMAILS: Mapping[str, tuple[dict[str, Any], str]] = {
    "fine": ({}, "done"),
    "no subject": ({"subject": " "}, "missing"),
    "nothing written": ({"html": ""}, "missing"),
    "an unknown variable": ({"html": "<p>{{ frist_name }}</p>"}, "problem"),
    "two unknown variables": ({"html": "<p>{{ a1 }} {{ campaign.colour }} {{ city }}</p>"}, "problem"),
    "an unknown variable with a default": ({"html": "<p>{{ frist_name|default('you') }}</p>"}, "done"),
    "an unknown variable with a value": ({"html": "{{ a1 }}", "variables": {"a1": {"value": "x"}}}, "done"),
    "a field of some": ({"html": "<p>{{ city }}</p>"}, "done"),
    "broken syntax": ({"html": "<p>{{ first_name</p>"}, "problem"),
    "an unknown filter": ({"subject": "{{ first_name|shout }}"}, "problem"),
    "a value that cannot be used": ({"html": "<p>{{ first_name|round }}</p>"}, "problem"),
    "a subject that comes out empty": ({"subject": "{{ frist_name|default('') }}"}, "problem"),
    "a bad link": ({"html": "<a href='www.shop.test'>x</a>"}, "done"),
    "a link of another recipient": (
        {"html": "<a href='https://protect-eu.mimecast.com/s/A?domain=localhost'>x</a>"},
        "problem",
    ),
    "a broken value": ({"html": "{{ a1 }}", "variables": {"a1": {"value": "{{ x"}}}, "problem"),
}
OTHERS: Mapping[str, tuple[str, str]] = {  # the states of the recipients and of the time
    "fine": ("done", "todo"),
    "no list": ("missing", "todo"),
    "an empty list": ("missing", "todo"),
    "no sender": ("missing", "todo"),
    "a removed sender": ("missing", "todo"),
    "a failing sender": ("problem", "todo"),
    "a resting sender": ("done", "todo"),
    "a later time": ("done", "done"),
    "a time that has passed": ("done", "problem"),
    "a latest start that cannot be kept": ("done", "problem"),
    "sending hours": ("done", "todo"),
}


@pytest.fixture
def owner(anna: Any, session: Session) -> Account:
    owner = session.scalars(select(Account)).one()
    session.commit()
    return owner


@pytest.fixture
def draft(make: Factory, owner: Account, session: Session) -> Campaign:
    readers = make.list(owner, "Readers")
    make.list(owner, "Empty")
    make.subscriber(owner, "olga@example.org", (readers,), first_name="Ольга", fields={"city": "Omsk"})
    make.subscriber(owner, "pyotr@example.org", (readers,))
    draft = make.campaign(owner, (readers,), tuple(session.scalars(select(Sender))))
    make.commit()
    return draft


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear the cached emails of earlier tests."""
    monkeypatch.setattr(quick, "_kept", quick._Kept())


def states(page: Any) -> dict[str, str]:
    """Return the mark and the label of each step."""
    found = {}
    for step in page.html.select(".step"):
        marks = [each for each in step["class"] if each not in ("step", "step-here")]
        assert len(marks) == 1
        found[step["id"].removeprefix("step-")] = marks[0].removeprefix("step-")
        assert step.find_all(class_="unseen")[-1].text.strip()
    return found


def everywhere(anna: Any, draft: Campaign, more: Sequence[str] = ()) -> dict[str, str]:
    """Return the states, which are the same on all pages of the draft, as are the words beside the check."""
    pages = {each: anna.get(f"/campaigns/{draft.id}/{each}") for each in (*PAGES, *more)}
    seen = {each: states(page) for each, page in pages.items()}
    assert all(each == seen["check"] for each in seen.values()), seen
    assert len({" ".join(page.html.find(id="step-check").text.split()) for page in pages.values()}) == 1
    return seen["check"]


@pytest.fixture
def turn_into(draft: Campaign, session: Session) -> Callable[[str, str], None]:
    """Set one of these emails, and recipients, a sender and a time."""
    was = {name: getattr(draft, name) for name in ("subject", "html", "variables")}
    [sender] = draft.senders
    lists = {each.name: each for each in session.scalars(select(SubscriberList))}
    session.commit()

    def turn_into(email: str, other: str) -> None:
        now = utcnow()
        for name, value in (was | EMAILS[email][0]).items():
            setattr(draft, name, value)
        draft.lists[:] = {"no list": [], "an empty list": [lists["Empty"]]}.get(other, [lists["Readers"]])
        draft.senders[:] = [] if other == "no sender" else [sender]
        sender.deleted_at = now if other == "a removed sender" else None
        sender.status = {
            "a failing sender": SenderStatus.failing,
            "a resting sender": SenderStatus.sleeping,
        }.get(other, SenderStatus.ready)
        sender.sleeps_until = now + timedelta(hours=1) if other == "a resting sender" else None
        draft.send_at = {
            "a later time": now + timedelta(days=1),
            "a time that has passed": now - timedelta(days=1),
            "a latest start that cannot be kept": now + timedelta(days=2),
        }.get(other)
        too_early = other == "a latest start that cannot be kept"
        draft.not_after = now + timedelta(days=1) if too_early else None
        hours = {"days": [1, 2, 3, 4, 5, 6, 7], "from": "00:00", "to": "23:59", "timezone": "UTC"}
        draft.hours = hours if other == "sending hours" else None
        session.commit()

    return turn_into


def pairs() -> list[tuple[str, str]]:
    """Return combinations with every value at least once; each email with recipients and a sender."""
    missing = [each for each, (people, _when) in OTHERS.items() if people == "missing"]
    present = [each for each in OTHERS if each not in missing]
    chance = random.Random(9)
    some = [(chance.choice([*EMAILS]), each) for each in missing[:2]]
    return [*zip(EMAILS, cycle(present), strict=False), *(("fine", each) for each in missing), *some]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_page_of_a_draft_shows_the_same_steps(
    anna: Any, draft: Campaign, turn_into: Callable[[str, str], None]
) -> None:
    for email, other in pairs():
        turn_into(email, other)
        seen = everywhere(anna, draft)
        people, when = OTHERS[other]
        email = EMAILS[email][1]
        if people == "missing":
            email = seen["email"]  # findings that depend on the first recipient may differ without one
        assert (seen["target"], seen["email"], seen["when"]) == (people, email, when), (email, other)
        wrong = {people, email, when}
        assert seen["check"] == (
            "todo" if "missing" in wrong else "problem" if "problem" in wrong else "ready"
        )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_steps_are_made_of_what_the_check_finds(
    anna: Any, draft: Campaign, session: Session, turn_into: Callable[[str, str], None]
) -> None:
    parts = {each: anna.app.registry[each] for each in ("settings", "backends")}
    settings, registry, now = parts["settings"], parts["backends"], utcnow()
    for email, other in pairs():
        turn_into(email, other)
        found = campaigns.check(session, draft, settings=settings, registry=registry, now=now)
        state = campaigns.email_state(session, draft, ours=settings.public_url, now=now)
        ready = campaigns.readiness(session, draft, state, settings=settings, registry=registry, now=now)
        assert sorted(ready.codes) == sorted(each.code for each in found.blocking), (email, other)
        session.commit()


def test_the_steps_follow_a_save_and_the_subscribers(
    anna: Any, draft: Campaign, make: Factory, session: Session
) -> None:
    """Without scripts and with them, in both languages."""
    path = f"/campaigns/{draft.id}/email"
    assert everywhere(anna, draft)["check"] == "ready"
    form = anna.get(path).forms["email-form"]
    form["html"] = "<p>{{ street }}</p>"
    form.submit(status=303)
    seen = everywhere(anna, draft, MORE_PAGES)
    assert (seen["email"], seen["check"]) == ("problem", "problem")

    make.subscriber(draft.account, lists=tuple(draft.lists), fields={"street": "Lenina"})
    make.commit()  # as an import does
    assert everywhere(anna, draft)["email"] == "done"

    form = anna.get(path).forms["email-form"]
    for html, state in (("{{ house }}", "problem"), ("{{ house", "problem"), ("Words", "done")):
        form["html"] = html
        answer = anna.post(path, form.submit_fields(), headers={"HX-Request": "true"})
        assert states(answer) == {"email": state, "check": "ready" if state == "done" else state}
        form["revision"] = answer.html.find(id="revision")["value"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_words_of_the_steps_are_the_same_in_russian(
    anna: Any, owner: Account, draft: Campaign, session: Session
) -> None:
    owner.locale, draft.html = "ru", "<p>{{ house }}</p>"
    session.commit()
    pages = [anna.get(f"/campaigns/{draft.id}/{each}").html for each in (*PAGES, *MORE_PAGES)]
    words = {each.select_one("#step-email > a > .unseen").text for each in pages}
    assert words == {"требует внимания"}
    notes = {each.select_one("#step-check .step-note").text for each in pages}
    assert notes == {"1 ошибка"}


def test_saving_an_unknown_variable_while_typing_keeps_the_problems_of_other_steps(
    anna: Any, draft: Campaign, session: Session
) -> None:
    draft.send_at = utcnow() - timedelta(days=1)
    session.commit()
    path = f"/campaigns/{draft.id}/email"
    form = anna.get(path).forms["email-form"]
    form["html"] = draft.html + "<p>More words</p>"
    answer = anna.post(path, form.submit_fields(), headers={"HX-Request": "true"})
    assert answer.html.find(id="email-chips") is None  # no recipients were counted
    assert states(answer) == {"email": "done", "check": "problem"}
    assert "1 problem" in answer.html.find(id="step-check").text


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the requests to the render process."""
    asked: list[str] = []
    ask = render_process.ask
    monkeypatch.setattr(
        render_process, "ask", lambda task, **given: (asked.append(task), ask(task, **given))[1]
    )
    return asked


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_email_is_read_once_for_each_of_its_versions(
    anna: Any, draft: Campaign, session: Session, asked: list[str]
) -> None:
    def asked_by(page: str) -> list[str]:
        asked.clear()
        anna.get(f"/campaigns/{draft.id}/{page}")
        return list(asked)

    assert asked_by("target") == ["compile", "render", "analyse_for_page"]
    assert asked_by("target") == []
    draft.name = "Another name, which the email does not say"
    draft.html = "<p>{{ city }}</p>"
    session.commit()
    assert asked_by("email") == ["compile", "render", "analyse_for_page"]
    assert asked_by("target") == []
    with statements(anna.app.registry["engine"]) as seen:
        anna.get(f"/campaigns/{draft.id}/target")
    counted = [each for each in seen if "count(" in each.lower() and "subscriber" in each.lower()]
    assert counted == []  # the recipients of one list are a kept count


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_error_on_the_email_page_is_not_worked_out_again_for_its_steps(
    anna: Any, draft: Campaign, session: Session, asked: list[str]
) -> None:
    for html, expected in (
        ("{{ first_name", ["compile", "analyse_for_page"]),
        ("{{ first_name|round }}", ["compile", "render", "analyse_for_page"]),
    ):
        draft.html = html
        session.commit()
        asked.clear()
        assert states(anna.get(f"/campaigns/{draft.id}/email"))["email"] == "problem"
        assert asked == expected


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_steps_are_about_the_first_recipient_whatever_the_preview(
    anna: Any, draft: Campaign, session: Session, asked: list[str]
) -> None:
    first, second = session.scalars(select(Subscriber.id).order_by(Subscriber.id))
    # Each email can be rendered for one of the two recipients only.
    for condition, state in (("not first_name", "done"), ("first_name", "problem")):
        draft.html = f"<p>{{% if {condition} %}}{{{{ email|round }}}}{{% endif %}}</p>"
        session.commit()
        for reader, rendered in ((second, 2), (first, 1)):
            quick._kept._states.clear()
            asked.clear()
            page = anna.get(f"/campaigns/{draft.id}/email?as={reader}")
            assert states(page)["email"] == state
            assert asked == ["compile", "render", "analyse_for_page", "render"][: 2 + rendered]
        assert everywhere(anna, draft, [*MORE_PAGES, f"email?as={second}"])["email"] == state


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_email_saved_while_its_page_is_made_keeps_no_state_of_the_version_before(
    anna: Any, draft: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = render_process.ask

    def meanwhile(task: str, **given: Any) -> Any:
        monkeypatch.setattr(render_process, "ask", ask)
        with anna.app.registry["engine"].begin() as connection:
            html = "<p>{{ frist_name }}</p>"
            connection.execute(update(Campaign).values(html=html, revision=Campaign.revision + 1))
        return ask(task, **given)

    monkeypatch.setattr(render_process, "ask", meanwhile)
    anna.get(f"/campaigns/{draft.id}/email")
    assert everywhere(anna, draft)["email"] == "problem"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_email_that_cannot_be_read_just_now_is_not_called_done(
    anna: Any, draft: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = render_process.ask
    for busy in ("compile", "render", "analyse_for_page"):

        def refused(task: str, busy: str = busy, **given: Any) -> Any:
            if task == busy:
                raise Busy("Too many.", 5)
            return ask(task, **given)

        monkeypatch.setattr(render_process, "ask", refused)
        for page in ("target", "email/template"):
            seen = states(anna.get(f"/campaigns/{draft.id}/{page}", status=200))
            assert (seen["email"], seen["check"]) == ("todo", "todo")
    monkeypatch.setattr(render_process, "ask", ask)
    assert everywhere(anna, draft)["email"] == "done"


def test_what_is_kept_of_emails_is_bounded() -> None:
    kept = quick._Kept()
    for number in range(quick.MOST_KEPT + 10):
        kept.keep(str(number), quick.EmailState(()))
    assert len(kept._states) == quick.MOST_KEPT
    assert kept.get("0") is None
