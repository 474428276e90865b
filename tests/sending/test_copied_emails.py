"""A campaign made from the source of an email that an earlier one sent."""

import re
from base64 import b64encode
from email import message_from_bytes
from email.policy import default
from typing import Any
from urllib.parse import urlsplit

import pytest

from mailganer import accounts
from mailganer.backends import Message, load_backends
from mailganer.campaigns import Severity, check
from mailganer.campaigns.copied_emails import targets_of
from mailganer.errors import NotFound
from mailganer.i18n.translator import translate_sentence
from mailganer.models import CampaignStatus, FrozenEmail
from mailganer.tracking import email_for, find, link_target
from tests.sending.scripted import Script

EMAIL = (
    "<p>Hello {{ first_name }}, <a href='https://shop.test/?a=1&amp;b=2'>one</a> "
    "<a href='https://shop.test/{{ email|urlencode }}'>two</a> <a href='{{ shop }}/sale'>three</a> "
    "<a href='{{ unsubscribe_url }}'>leave</a> <a href='{{ browser_url }}'>browser</a></p>"
)


@pytest.fixture
def works(open_works: Any, clock: Any, script: Script) -> Any:
    return open_works(clock, script)


def html_of(message: Message) -> str:
    parsed = message_from_bytes(message.content, policy=default)
    (part,) = [each for each in parsed.walk() if each.get_content_type() == "text/html"]
    return str(part.get_content())


def tokens_in(html: str) -> set[str]:
    return set(re.findall(r"/[uvco]/([\w-]{22})", html))


def test_recipients_of_a_copied_email_leave_and_click_for_themselves(
    due: Any, works: Any, make: Any, script: Script, session: Any, clock: Any, settings: Any, reload: Any
) -> None:
    first = due(1, html=EMAIL, variables={"shop": {"value": "https://shop.test", "override": False}})
    works.run(4)
    copied = html_of(script.seen.pop())
    (old,) = tokens_in(copied)

    account = first.account
    readers = make.list(account, "Others")
    for name in ("olga", "pyotr"):
        make.subscriber(account, f"{name}@example.org", (readers,))
    second = make.campaign(account, (readers,), tuple(first.senders), html=copied)
    make.commit()
    registry = load_backends(settings.backends, settings.backend_options, accounts.network_of(settings))
    seen = check(session, second, settings=settings, registry=registry, now=clock.now)
    found = {problem.code: problem for problem in seen.problems}
    assert "All links are valid." not in seen.passed
    assert found["own_addresses"].severity is Severity.note
    assert found["foreign_addresses"].severity is Severity.blocking  # the variable was the campaign's own
    assert found["foreign_addresses"].message.mapping["link"] == f"{settings.public_url}/c/{old}/3"
    assert "unknown_clicks" not in found

    second.html = copied.replace(f"{settings.public_url}/c/{old}/3", "https://shop.test/sale")
    second.status, second.send_at = CampaignStatus.scheduled, clock.now
    session.commit()
    works.run(4)
    assert len(script.seen) == 2
    for message in script.seen:
        html = html_of(message)
        (own,) = tokens_in(html)
        assert own != old
        assert html.count(f"/u/{own}") == html.count(f"/v/{own}") == html.count(f"/o/{own}.gif") == 1
    version = session.get_one(FrozenEmail, reload(second).frozen_email_id)
    assert version.compiled["links"] == [
        "https://shop.test/?a=1&b=2",
        "https://shop.test/{{ email|urlencode }}",
        "https://shop.test/sale",
    ]


def test_another_account_learns_no_more_than_a_click_shows(
    due: Any, works: Any, make: Any, script: Script, session: Any, settings: Any
) -> None:
    first = due(1, html=EMAIL, variables={"shop": {"value": "https://shop.test", "override": False}})
    works.run(4)
    copied = html_of(script.seen.pop())
    (old,) = tokens_in(copied)
    other = make.account("other@example.com")
    make.commit()
    ours = settings.public_url
    assert targets_of(session, other.id, [copied], ours) == {f"{old}/1": "https://shop.test/?a=1&b=2"}
    assert targets_of(session, first.account_id, [copied], ours) == {
        f"{old}/1": "https://shop.test/?a=1&b=2",
        f"{old}/2": "https://shop.test/{{ email|urlencode }}",
    }


def test_an_email_that_another_account_copied_never_acts_for_its_first_recipient(
    due: Any, works: Any, make: Any, script: Script, session: Any, clock: Any, settings: Any, reload: Any
) -> None:
    due(1, html=EMAIL, variables={"shop": {"value": "https://shop.test", "override": False}})
    works.run(4)
    copied = html_of(script.seen.pop())
    (old,) = tokens_in(copied)
    other = make.account("other@example.com")
    readers = make.list(other, "Others")
    make.subscriber(other, "olga@example.org", (readers,))
    mine = make.campaign(other, (readers,), (make.sender(other),), html=copied)
    make.commit()
    registry = load_backends(settings.backends, settings.backend_options, accounts.network_of(settings))
    seen = check(session, mine, settings=settings, registry=registry, now=clock.now)
    found = {problem.code: problem for problem in seen.problems}
    assert found["foreign_addresses"].severity is Severity.blocking
    assert f"/c/{old}" in found["foreign_addresses"].message.mapping["link"]
    assert "unknown_clicks" not in found
    assert "All links are valid." not in seen.passed

    mine.status, mine.send_at = CampaignStatus.scheduled, clock.now
    session.commit()
    works.run(4)
    assert script.seen == []
    assert reload(mine).status is CampaignStatus.paused
    assert "contains that recipient's links" in translate_sentence(reload(mine).paused_reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    "written",
    [
        "<p>{T}</p>",
        "<a href='https://track.test/{T}'>x</a>",
        "<a href='https://opaque.test/?d=%25{first:%}%252F{T}'>x</a>",
        "<a href='{{ \"https://m.test/u/\" }}{T}'>x</a>",
        "<p>{H}{# #}{t}</p>",
        "<p title='&#{first:d};{rest}'>x</p>",
        "<p>{{ '{H}' ~ '{t}' }}</p>",
        "<a href=3D'https://m.test/{H}=\n{t}'>x</a>",
        "<a href='https://opaque.test/?d={base64}'>x</a>",
        "<a href='https://protect-eu.mimecast.com/s/x1?domain={host}'>x</a>",
        "<p>leave: {ours}/u/{H}<wbr>{t}</p>",
        "<p>leave: {ours}/u/<b>{H}<span>{t}</span></b><br>Best regards</p>",
        "<p>leave: {ours}/u/{H}&shy;{t}</p>",
        "<p>leave: {ours}/u/{H}\u00ad{t}</p>",
        "<p>leave: {ours}/u/{H}\u200b{t}</p>",
        "<p>leave: {ours}/u/{H}\u200d{t}</p>",
        "<p>leave: {ours}/u/{H}<!-- x -->{t}</p>",
        "<p>leave: {ours}/u/{H}<i style='display:none'>x</i>{t}</p>",
        "<img alt='leave: {ours}/u/{H}&shy;{t}' src='https://shop.test/a.png'>",
    ],
)
def test_no_token_of_a_recipient_is_sent_to_another_however_it_is_written(
    due: Any,
    works: Any,
    make: Any,
    script: Script,
    session: Any,
    clock: Any,
    reload: Any,
    settings: Any,
    written: str,
) -> None:
    first = due(1, html=EMAIL, variables={"shop": {"value": "https://shop.test", "override": False}})
    works.run(4)
    (old,) = tokens_in(html_of(script.seen.pop()))
    html = (
        written.replace("{T}", old)
        .replace("{H}", old[:10])
        .replace("{t}", old[10:])
        .replace("{first:%}", "25")
        .replace("{first:d}", str(ord(old[0])))
        .replace("{rest}", old[1:])
        .replace("{base64}", b64encode(f"see /u/{old} and more".encode()).decode())
        .replace("{ours}", settings.public_url)
        .replace("{host}", urlsplit(settings.public_url).hostname or "")
    )
    readers = make.list(first.account, "Others")
    make.subscriber(first.account, "olga@example.org", (readers,))
    second = make.campaign(first.account, (readers,), tuple(first.senders), html=html)
    second.status, second.send_at = CampaignStatus.scheduled, clock.now
    make.commit()
    works.run(4)
    assert script.seen == []
    assert reload(second).status is CampaignStatus.paused


def test_a_subscribers_value_never_acts_for_another_recipient(
    due: Any, works: Any, make: Any, script: Script, session: Any, clock: Any, settings: Any
) -> None:
    first = due(1, html=EMAIL, variables={"shop": {"value": "https://shop.test", "override": False}})
    works.run(4)
    (old,) = tokens_in(html_of(script.seen.pop()))
    ours = settings.public_url
    fields = {"leave": f"{ours}/u/{old}", "page": f"{ours}/v/{old}", "shop": f"{ours}/c/{old}/1"}
    fields |= {"lost": f"{ours}/c/{old}/3", "pixel": f"{ours}/o/{old}.gif"}
    readers = make.list(first.account, "Others")
    make.subscriber(first.account, "olga@example.org", (readers,), fields=fields)
    html = "<p>Leave: {{ leave }} " + "".join(f"<a href='{{{{ {name} }}}}'>x</a>" for name in fields)
    second = make.campaign(first.account, (readers,), tuple(first.senders), html=html)
    make.commit()
    registry = load_backends(settings.backends, settings.backend_options, accounts.network_of(settings))
    seen = check(session, second, settings=settings, registry=registry, now=clock.now)
    (problem,) = [each for each in seen.problems if each.code == "recipients_links"]
    assert problem.message.mapping["name"] == "leave"
    second.status, second.send_at = CampaignStatus.scheduled, clock.now
    session.commit()
    works.run(4)
    sent = html_of(script.seen.pop())
    (own,) = tokens_in(sent)
    assert own != old
    assert sent.count(f"{ours}/u/{own}") == 2  # the footer has the other one

    def target(number: int) -> str:
        return link_target(session, find(session, own), number, ours)

    assert [target(1), target(2), target(3)] == [
        f"{ours}/u/{own}",
        f"{ours}/v/{own}",
        "https://shop.test/?a=1&b=2",
    ]
    for number in (4, 5):
        with pytest.raises(NotFound, match="does not work"):
            target(number)
    assert old not in (shown := email_for(session, find(session, own), ours)).html + shown.text
