"""The main task by API alone: thousands of recipients get one email each; opens and clicks are counted.

Every test has its own account in an installation that the tests share.
"""

import re
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.pace import within
from tests.support.ports import wait_until
from tests.support.smtp import Collected, SMTPServer

from .api import API
from .autumn import FIRST_FORTY, RECIPIENTS, address, bring, finished, name, write


def fetch(url: str, body: bytes | None = None) -> int:
    """Fetch as a recipient's email app does, without following a redirect."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0"}
    planner = urllib.request.build_opener(Stay)
    try:
        with planner.open(urllib.request.Request(url, data=body, headers=agent), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def link(email: Collected, number: int) -> str:
    found = re.search(rf'href="(http[^"]+/c/[\w-]+/{number})"', email.part("html"))
    assert found
    return found[1]


def pixel(email: Collected) -> str:
    found = re.search(r'src="(http[^"]+/o/[\w-]+\.gif)"', email.part("html"))
    assert found
    return found[1]


def unsubscribe_address(email: Collected) -> str:
    return email.message["List-Unsubscribe"].strip("<> ")


def read_quickly(content: bytes) -> tuple[str, str]:
    """Return subject and HTML of an email. The standard library's modern policy takes ten times as long."""
    message = message_from_bytes(content)
    subject = str(make_header(decode_header(message["Subject"])))
    html = next(part for part in message.walk() if part.get_content_type() == "text/html")
    return subject, html.get_payload(decode=True).decode()


def assert_each_recipient_got_their_email(server: SMTPServer, count: int) -> None:
    counts = server.counts
    assert len(counts) == count
    assert set(counts.values()) == {1}
    for email in server.emails:
        number = int(re.findall(r"\d+", email.recipient)[0])
        first, last = name(number)
        subject, text = read_quickly(email.content)
        assert f"Здравствуйте, {first} {last}!" in text
        assert f"Ваш номер {number}, город {'Псков' if number % 3 else 'неизвестен'}, скидка 7 %." in text
        assert subject == f"{first}, письмо для вас"


@pytest.mark.timeout(600)
def test_thousands_of_recipients_get_their_own_email_once_and_what_they_do_is_counted(
    api: API, installation: Installation, smtp_server: SMTPServer
) -> None:
    # The size tells with real services; the embedded ones have the same batches and windows.
    recipients = RECIPIENTS if installation.broker_url else RECIPIENTS // 3
    list_id = bring(api, recipients)
    campaign = write(api, list_id)

    check = api.post(f"campaigns/{campaign}/check")
    assert check["ok"], check["problems"]
    assert check["audience"] == recipients
    use = {each["name"]: each for each in check["variables"]}
    empty = len(range(0, recipients, 3))
    assert (use["gorod"]["filled"], use["gorod"]["empty"]) == (recipients - empty, empty)

    due = datetime.now(UTC) + timedelta(seconds=4)
    scheduled = api.post(f"campaigns/{campaign}/schedule", {"send_at": due.isoformat()})
    assert scheduled["status"] == "scheduled"
    assert smtp_server.emails == []
    wait_until(lambda: bool(smtp_server.emails), 120, what="the first email")
    assert datetime.now(UTC) >= due
    started = datetime.fromisoformat(api.get(f"campaigns/{campaign}")["started_at"])
    late = (started - due).total_seconds()  # how fast it is planned then is the machine's affair
    assert 0 <= late < within(10), f"it started {late} s after its time"
    done = api.wait(f"campaigns/{campaign}", finished, 300)
    assert done["counts"] == {
        "total": recipients,
        "pending": 0,
        "sending": 0,
        "sent": recipients,
        "failed": 0,
        "in_doubt": 0,
        "skipped": 0,
        "bounced": 0,
    }
    assert_each_recipient_got_their_email(smtp_server, recipients)

    emails = {email.recipient: email for email in smtp_server.emails if email.recipient in FIRST_FORTY}
    openers, clickers, leavers = list(emails)[:20], list(emails)[20:30], list(emails)[30:35]
    for who in openers:
        assert fetch(pixel(emails[who])) == 200
    for who in clickers:
        assert fetch(link(emails[who], 1)) == 302
    for who in leavers:
        assert fetch(unsubscribe_address(emails[who])) == 200  # a scanner's GET changes nothing
        assert fetch(unsubscribe_address(emails[who]), b"List-Unsubscribe=One-Click") == 200
    report = api.wait(f"campaigns/{campaign}/report", lambda found: found["opens"]["total"] >= 20, 30)
    assert report["sent"] == recipients
    assert report["clicks"]["people"] == 10
    assert report["unsubscribed"] == 5
    assert report["opens"]["people_certain"] == 30  # a click implies an open
    assert [each["people"] for each in report["links"]] == [10, 0]

    smtp_server.forget()
    second = write(api, bring(api, 40))  # the same forty in a new file stay unsubscribed
    assert api.post(f"campaigns/{second}/check")["audience"] == 35
    api.post(f"campaigns/{second}/schedule", {"send_at": None})
    api.wait(f"campaigns/{second}", finished, 60)
    assert smtp_server.counts == dict.fromkeys(FIRST_FORTY - set(leavers), 1)


@pytest.mark.timeout(600)
def test_a_worker_killed_in_the_middle_sends_no_email_twice_and_loses_none(
    api: API, installation: Installation, smtp_server: SMTPServer
) -> None:
    subscribers = RECIPIENTS // 3
    campaign = write(api, bring(api, subscribers))
    api.post(f"campaigns/{campaign}/schedule")
    for part in (1, 2, 3):
        enough = subscribers * part // 5
        wait_until(lambda enough=enough: len(smtp_server.emails) >= enough, 120, what=f"{enough} emails")
        for process in [*installation.part("worker").children(recursive=True), installation.part("worker")]:
            process.kill()
    done = api.wait(f"campaigns/{campaign}", finished, 300)

    counts = smtp_server.counts
    assert max(counts.values()) == 1, "somebody got it twice"
    doubtful = {each["email"] for each in api.items(f"campaigns/{campaign}/deliveries?status=in_doubt")}
    missing = {address(number) for number in range(subscribers)} - set(counts)
    assert missing <= doubtful, "somebody was lost without a word"
    assert done["counts"]["in_doubt"] == len(doubtful)
    assert done["counts"]["sent"] == subscribers - len(doubtful)
    assert len(doubtful) <= 3 * 64  # what was on the wire at each of the three kills


@pytest.mark.timeout(600)
def test_a_wiped_broker_heals_by_itself(
    api: API, installation: Installation, smtp_server: SMTPServer
) -> None:
    from redis import Redis

    from mailganer.broker import broker_url
    from mailganer.settings import load

    broker = Redis.from_url(broker_url(load(installation.ini)).replace("redis+socket://", "unix://"))
    subscribers = RECIPIENTS // 3
    campaign = write(api, bring(api, subscribers))
    api.post(f"campaigns/{campaign}/schedule")
    for part in (1, 2, 3):
        enough = subscribers * part // 5
        wait_until(lambda enough=enough: len(smtp_server.emails) >= enough, 120, what=f"{enough} emails")
        broker.flushall()
    broker.close()
    done = api.wait(f"campaigns/{campaign}", finished, 300)
    assert done["counts"]["sent"] == subscribers
    assert_each_recipient_got_their_email(smtp_server, subscribers)
