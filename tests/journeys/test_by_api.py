"""The main job by API alone: ten thousand people get their own letter once, and what they do is counted."""

import csv
import email
import email.header
import io
import re
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.ports import wait_until
from tests.support.smtp import Collected, SMTPServer

from .api import API, APIError

PEOPLE = 10_000
FIRST = ("Анна", "Пётр", "Мария", "Фёдор", "Ольга", "Юрий", "Зоя", "Илья", "Жанна", "Щукарь")
LAST = ("Иванова", "Ёлкин", "Цой", "Щедрин", "Объедкова", "Эйхенбаум", "Юшкевич")
HTML = """<html><body><p>Здравствуйте, {{ first_name }} {{ last_name }}!</p>
<p>Ваш номер {{ nomer }}, город {{ gorod|default("неизвестен") }}, скидка {{ discount }}.</p>
<p><a href="https://shop.example/catalogue?who={{ nomer }}">Каталог</a>
<a href="https://shop.example/help">Помощь</a></p>
<p><a href="{{ unsubscribe_url }}">Отписаться</a></p></body></html>"""


def name(number: int) -> tuple[str, str]:
    return FIRST[number % len(FIRST)], f"{LAST[number % len(LAST)]}-{number}"


def address(number: int) -> str:
    return f"reader{number}@example.org"


FIRST_FORTY = {address(number) for number in range(40)}


def people_csv(count: int = PEOPLE) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=";")
    rows.writerow(["Почта", "Имя", "Фамилия", "Номер", "Город"])
    for number in range(count):
        rows.writerow([address(number), *name(number), number, "Псков" if number % 3 else ""])
    return text.getvalue().encode("utf-8-sig")


def bring(api: API, count: int = PEOPLE) -> int:
    """A list with that many people; its id."""
    list_id = api.post("lists", {"name": "Читатели"})["id"]
    started = api.upload(f"lists/{list_id}/imports", "люди.csv", people_csv(count))
    done = api.wait(f"imports/{started['id']}", lambda found: found["status"] in {"done", "failed"}, 120)
    assert (done["status"], done["rows"], done["rejected"]) == ("done", count, 0)
    return list_id


def write(api: API, list_id: int, subject: str = "{{ first_name }}, письмо для вас") -> int:
    """A campaign ready to be sent; its id."""
    body = {
        "name": "Осень",
        "subject": subject,
        "html": HTML,
        "lists": [list_id],
        "variables": {"discount": "7 %"},
        "locale": "ru",
    }
    return api.post("campaigns", body)["id"]


def finished(campaign: dict[str, Any]) -> bool:
    return campaign["status"] == "finished"


def fetch(url: str, body: bytes | None = None) -> int:
    """As a reader's mail program would, without following a redirect."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0"}
    opener = urllib.request.build_opener(Stay)
    try:
        with opener.open(urllib.request.Request(url, data=body, headers=agent), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def link(letter: Collected, number: int) -> str:
    found = re.search(rf'href="(http[^"]+/c/[\w-]+/{number})"', letter.part("html"))
    assert found
    return found[1]


def pixel(letter: Collected) -> str:
    found = re.search(r'src="(http[^"]+/o/[\w-]+\.gif)"', letter.part("html"))
    assert found
    return found[1]


def unsubscribe_address(letter: Collected) -> str:
    return letter.message["List-Unsubscribe"].strip("<> ")


def read_quickly(content: bytes) -> tuple[str, str]:
    """Subject and HTML of a letter. The standard library's modern policy takes ten times as long."""
    message = email.message_from_bytes(content)
    subject = str(email.header.make_header(email.header.decode_header(message["Subject"])))
    html = next(part for part in message.walk() if part.get_content_type() == "text/html")
    return subject, html.get_payload(decode=True).decode()


def assert_everybody_got_their_own(server: SMTPServer, count: int = PEOPLE) -> None:
    counts = server.counts
    assert len(counts) == count
    assert set(counts.values()) == {1}
    for letter in server.letters:
        number = int(re.findall(r"\d+", letter.recipient)[0])
        first, last = name(number)
        subject, text = read_quickly(letter.content)
        assert f"Здравствуйте, {first} {last}!" in text
        assert f"Ваш номер {number}, город {'Псков' if number % 3 else 'неизвестен'}, скидка 7 %." in text
        assert subject == f"{first}, письмо для вас"


@pytest.mark.timeout(600)
def test_ten_thousand_people_get_their_own_letter_once_and_what_they_do_is_counted(
    api: API, smtp_server: SMTPServer
) -> None:
    list_id = bring(api)
    campaign = write(api, list_id)

    check = api.post(f"campaigns/{campaign}/check")
    assert check["ok"], check["problems"]
    assert check["audience"] == PEOPLE
    use = {each["name"]: each for each in check["variables"]}
    assert (use["gorod"]["filled"], use["gorod"]["empty"]) == (6666, 3334)

    due = datetime.now(UTC) + timedelta(seconds=4)
    scheduled = api.post(f"campaigns/{campaign}/schedule", {"send_at": due.isoformat()})
    assert scheduled["status"] == "scheduled"
    assert smtp_server.letters == []
    wait_until(lambda: bool(smtp_server.letters), 30, what="the first letter")
    late = (datetime.now(UTC) - due).total_seconds()
    assert 0 <= late < 10, f"the first letter came {late} s after its time"
    done = api.wait(f"campaigns/{campaign}", finished, 300)
    assert done["counts"] == {
        "total": PEOPLE,
        "pending": 0,
        "sending": 0,
        "sent": PEOPLE,
        "failed": 0,
        "in_doubt": 0,
        "skipped": 0,
        "bounced": 0,
    }
    assert_everybody_got_their_own(smtp_server)

    letters = {letter.recipient: letter for letter in smtp_server.letters if letter.recipient in FIRST_FORTY}
    openers, clickers, leavers = list(letters)[:20], list(letters)[20:30], list(letters)[30:35]
    for who in openers:
        assert fetch(pixel(letters[who])) == 200
    for who in clickers:
        assert fetch(link(letters[who], 1)) == 302
    for who in leavers:
        assert fetch(unsubscribe_address(letters[who])) == 200  # a scanner looks, and changes nothing
        assert fetch(unsubscribe_address(letters[who]), b"List-Unsubscribe=One-Click") == 200
    report = api.wait(f"campaigns/{campaign}/report", lambda found: found["opens"]["total"] >= 20, 30)
    assert report["sent"] == PEOPLE
    assert report["clicks"]["people"] == 10
    assert report["unsubscribed"] == 5
    assert report["opens"]["people_certain"] == 30  # who clicked has opened
    assert [each["people"] for each in report["links"]] == [10, 0]

    smtp_server.forget()
    second = write(api, bring(api, 40))  # the same forty in a new file: it brings nobody back
    assert api.post(f"campaigns/{second}/check")["audience"] == 35
    api.post(f"campaigns/{second}/schedule", {"send_at": None})
    api.wait(f"campaigns/{second}", finished, 60)
    assert smtp_server.counts == dict.fromkeys(FIRST_FORTY - set(leavers), 1)


@pytest.mark.timeout(600)
def test_a_worker_killed_in_the_middle_sends_nobody_twice_and_loses_nobody(
    api: API, installation: Installation, smtp_server: SMTPServer
) -> None:
    campaign = write(api, bring(api))
    api.post(f"campaigns/{campaign}/schedule")
    for part in (1, 2, 3):
        enough = PEOPLE * part // 5
        wait_until(lambda enough=enough: len(smtp_server.letters) >= enough, 120, what=f"{enough} letters")
        for process in [*installation.part("worker").children(recursive=True), installation.part("worker")]:
            process.kill()
    done = api.wait(f"campaigns/{campaign}", finished, 300)

    counts = smtp_server.counts
    assert max(counts.values()) == 1, "somebody got it twice"
    doubtful = {each["email"] for each in api.items(f"campaigns/{campaign}/deliveries?status=in_doubt")}
    missing = {address(number) for number in range(PEOPLE)} - set(counts)
    assert missing <= doubtful, "somebody was lost without a word"
    assert done["counts"]["in_doubt"] == len(doubtful)
    assert done["counts"]["sent"] == PEOPLE - len(doubtful)
    assert len(doubtful) <= 3 * 64  # what was on the wire at each of the three moments


@pytest.mark.timeout(600)
def test_a_wiped_broker_heals_by_itself(
    api: API, installation: Installation, smtp_server: SMTPServer, live_kind: str
) -> None:
    from redis import Redis

    from mailganer.broker import broker_url
    from mailganer.settings import load

    broker = Redis.from_url(broker_url(load(installation.ini)).replace("redis+socket://", "unix://"))
    campaign = write(api, bring(api))
    api.post(f"campaigns/{campaign}/schedule")
    for part in (1, 2, 3):
        enough = PEOPLE * part // 5
        wait_until(lambda enough=enough: len(smtp_server.letters) >= enough, 120, what=f"{enough} letters")
        broker.flushall()
    broker.close()
    done = api.wait(f"campaigns/{campaign}", finished, 300)
    assert done["counts"]["sent"] == PEOPLE
    assert_everybody_got_their_own(smtp_server)


def test_the_same_key_does_a_thing_once(api: API) -> None:
    first = api.post("lists", {"name": "Once"}, key="k1")
    assert api.post("lists", {"name": "Once"}, key="k1") == first
    assert len(list(api.items("lists"))) == 1
    with pytest.raises(APIError) as refused:
        api.post("lists", {"name": "Another"}, key="k1")
    assert refused.value.status == 422


def test_somebody_elses_things_are_not_there(
    api: API, installation: Installation, smtp_server: SMTPServer
) -> None:
    list_id = bring(api, 3)
    campaign = write(api, list_id)
    smtp_server.passwords["boris@example.com"] = "secret"
    stranger = API(installation.url)
    stranger.login("boris@example.com", backend="smtp", **smtp_server.settings)
    person = api.get(f"lists/{list_id}/subscribers")["items"][0]["id"]
    sender = api.get("senders")["items"][0]["id"]
    for path in (
        f"lists/{list_id}",
        f"lists/{list_id}/subscribers",
        f"subscribers/{person}",
        f"senders/{sender}",
        f"campaigns/{campaign}",
        f"campaigns/{campaign}/report",
        f"campaigns/{campaign}/deliveries",
        "campaigns/999999",
    ):
        with pytest.raises(APIError) as refused:
            stranger.get(path)
        assert refused.value.status == 404, path


def test_a_wrong_password_is_said_in_the_servers_words(
    installation: Installation, smtp_server: SMTPServer
) -> None:
    with pytest.raises(APIError) as refused:
        API(installation.url).login(
            "anna@example.com", backend="smtp", **{**smtp_server.settings, "password": "wrong"}
        )
    assert refused.value.status == 401
    assert refused.value.body["reply"].startswith("535")


def test_an_unreachable_server_is_not_the_callers_fault(installation: Installation) -> None:
    with pytest.raises(APIError) as refused:
        API(installation.url).login(
            "anna@example.com", backend="smtp", host="127.0.0.1", port=1, security="none", password="x"
        )
    assert refused.value.status in {422, 502}


def test_without_a_token_nothing_is_answered(installation: Installation) -> None:
    for path in ("account", "lists", "campaigns", "campaigns/1"):
        with pytest.raises(APIError) as refused:
            API(installation.url).get(path)
        assert refused.value.status == 401, path


def test_a_campaign_that_is_not_ready_says_what_is_missing(api: API) -> None:
    campaign = api.post("campaigns", {"name": "Empty"})["id"]
    with pytest.raises(APIError) as refused:
        api.post(f"campaigns/{campaign}/schedule")
    assert refused.value.status == 409
    assert {each["code"] for each in refused.value.body["problems"] if each["blocking"]}
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    list_id = bring(api, 2)
    ready = write(api, list_id)
    with pytest.raises(APIError) as asked:
        api.post(f"campaigns/{ready}/schedule", {"send_at": past})
    assert asked.value.status == 422
    assert asked.value.body["errors"][0]["field"] == "send_at"


def test_the_document_is_served(installation: Installation) -> None:
    document = API(installation.url).get("openapi.json")
    assert document["openapi"].startswith("3.1")
    assert "/campaigns/{id}/schedule" in document["paths"]


def test_a_letter_goes_out_within_seconds_of_the_word(api: API, smtp_server: SMTPServer) -> None:
    campaign = write(api, bring(api, 5))
    asked = time.monotonic()
    api.post(f"campaigns/{campaign}/schedule")
    wait_until(lambda: len(smtp_server.letters) == 5, 20, what="five letters")
    assert time.monotonic() - asked < 10
