"""Latency for recipients and other accounts during attacks on the installation.

    python benchmarks/attacks.py [--seconds 10] [--attacks silent bomb lock parts]

Starts a whole installation with ``mailganer serve`` on SQLite. Four requests are repeated: a click,
an unsubscribe page, an open pixel, and another account's POST that creates a list. Each is sent ten times a
second, each time by a new client, even while earlier ones still wait. Any unusual response
counts as failed, and so does none within 30 seconds.

The first rows are without an attack. The clients of an attack run in a separate process, each with an
address of its own (127.0.1.1 and up), so limits for one network do not stop them. A refused client (429, 503)
waits a quarter of a second. Everything shares the machine's cores. Runs on Linux.
"""

import argparse
import http.client
import json
import math
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy.orm import Session

from mailganer.accounts import create_api_token
from mailganer.db import make_engine, utcnow
from mailganer.vault import Vault
from tests.support.factories import Factory
from tests.support.installation import SECRET, Installation
from tests.support.sent import sent_campaign, token

CASES = Path(__file__).resolve().parents[1] / "tests" / "rendering" / "cases"
LONG = {"x": "a" * 9_900}  # the value that makes rendering method-bomb-body.html expensive
RECIPIENTS = 200
EVERY = 0.1  # seconds between two requests of a kind
UNANSWERED = 400  # requests that may be open at once
HEAD_START = 0.5  # seconds that an attack runs before the measurement
REFUSED, REST = ("429", "503"), 0.25  # seconds that a refused client of an attack waits
TIMEOUT = 30  # seconds
TINY_PARTS = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 20_000 + b"--x--"  # under 1 MB
FORMS = ("/sign-in", "/subscribers/import", "/api/v1/lists/1/imports")
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}

Wait = tuple[float, bool]  # milliseconds, and whether the response was the usual one
Query = tuple[str, str, bytes | None, dict[str, str]]  # method, path, body, headers
Owner = tuple[str, int, int]  # an account's API token, campaign and subscriber


class Question(NamedTuple):
    """A measured request, and its usual response."""

    title: str
    usual: str
    query: Callable[[int], Query]


class Attack(NamedTuple):
    """Clients that each send one request after another, chosen by client and turn."""

    name: str
    title: str
    clients: int
    query: Callable[[int, int], Query]


class Targets(NamedTuple):
    """The tokens of the sent emails, the API token of another account, and the accounts that attack."""

    emails: list[str]
    other: str
    bombs: list[Owner]
    lock: list[Owner]


def prepare(url: str) -> Targets:
    engine = make_engine(url)
    with Session(engine) as session:
        make = Factory(session, utcnow(), Vault((SECRET,)))
        account = make.account()
        readers = make.list(account)
        people = [make.subscriber(account, lists=(readers,)) for _each in range(RECIPIENTS)]
        campaign = make.campaign(account, (readers,), (make.sender(account),))
        emails = [token(each) for each in sent_campaign(session, campaign, people, make.now)]
        bombs = [owner(make, "method-bomb-body.html") for _each in range(3)]
        lock, other = owner(make, "lock-preview.html"), owner(make, "links.html")
        session.commit()
    engine.dispose()
    return Targets(emails, other[0], bombs, [lock])


def owner(make: Factory, template: str) -> Owner:
    """Make an account with a campaign of this template."""
    account = make.account()
    subscriber = make.subscriber(account, fields=LONG)
    campaign = make.campaign(account, html=(CASES / template).read_text())
    api_token, _row = create_api_token(make.session, account, name="attacks", now=make.now)
    return api_token, campaign.id, subscriber.id


def post(path: str, body: dict[str, Any], bearer: str = "") -> Query:
    signed = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return "POST", f"/api/v1{path}", json.dumps(body).encode(), {"Content-Type": "application/json"} | signed


def questions_of(targets: Targets) -> list[Question]:
    def visit(path: str, turn: int) -> Query:
        return "GET", path.format(targets.emails[turn % RECIPIENTS]), None, BROWSER

    def create(_turn: int) -> Query:
        return post("/lists", {"name": f"List {time.monotonic_ns()}"}, targets.other)

    return [
        Question("click", "302", partial(visit, "/c/{}/1")),
        Question("unsubscribe page", "200", partial(visit, "/u/{}")),
        Question("open pixel", "200", partial(visit, "/o/{}.gif")),
        Question("POST a list", "201", create),
    ]


def attacks_of(targets: Targets, port: int) -> list[Attack]:
    """Return every attack. ``port`` is the one of the mail server that never replies."""
    server = {"backend": "smtp", "host": "127.0.0.1", "port": port, "security": "none", "password": "secret"}

    def sign_in(client: int, turn: int) -> Query:
        return post("/login", {"email": f"user{client}x{turn}@example.net", **server})

    def preview(owners: list[Owner], client: int, _turn: int) -> Query:
        bearer, campaign, subscriber = owners[client % len(owners)]
        return post(f"/campaigns/{campaign}/preview", {"subscriber_id": subscriber}, bearer)

    def form(_client: int, turn: int) -> Query:
        return "POST", FORMS[turn % len(FORMS)], TINY_PARTS, MULTIPART

    return [
        Attack("silent", "silent server, 12 sign-ins", 12, sign_in),
        Attack("silent", "silent server, 50 sign-ins", 50, sign_in),
        Attack("bomb", "template bomb, 3 accounts", 3, partial(preview, targets.bombs)),
        Attack("lock", "SQLite lock, 3 clients", 3, partial(preview, targets.lock)),
        Attack("parts", "20,000 tiny parts, 4 clients", 4, form),
    ]


def ask(port: int, query: Query, address: str = "127.0.0.1") -> str:
    """Return the status of the response, or the name of the error."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, TIMEOUT, (address, 0))) as connection:
        try:
            connection.request(*query)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        return str(answer.status)


def measure(port: int, questions: list[Question], seconds: float) -> list[list[Wait]]:
    """Send requests for that many seconds, then wait for the last responses. Return them by request."""

    def wait_for(question: Question, turn: int, due: float) -> Wait:
        usual = ask(port, question.query(turn)) == question.usual
        return (time.monotonic() - due) * 1000, usual

    begun, running = time.monotonic(), [list[Future[Wait]]() for _each in questions]
    with ThreadPoolExecutor(UNANSWERED) as clients:
        for number in range(math.ceil(seconds / EVERY) * len(questions)):
            turn, which = divmod(number, len(questions))
            due = begun + number * EVERY / len(questions)
            time.sleep(max(0.0, due - time.monotonic()))
            running[which].append(clients.submit(wait_for, questions[which], turn, due))
    return [[each.result() for each in turns] for turns in running]


def carry_out(port: int, targets: Targets, silent: int, number: int, seconds: float) -> Counter[str]:
    """Run an attack in a separate process, wait for its last responses, and return their counts."""
    attack, end = attacks_of(targets, silent)[number], time.monotonic() + seconds

    def send(client: int) -> Counter[str]:
        answers: Counter[str] = Counter()
        while time.monotonic() < end:
            answer = ask(port, attack.query(client, answers.total()), f"127.0.1.{client + 1}")
            answers[answer] += 1
            time.sleep(REST if answer in REFUSED else 0)
        return answers

    with ThreadPoolExecutor(attack.clients) as clients:
        return sum(clients.map(send, range(attack.clients)), Counter())


def show(title: str, questions: list[Question], found: list[list[Wait]], answers: str = "") -> None:
    for question, waits in zip(questions, found, strict=True):
        times, failed = sorted(each for each, _usual in waits), sum(not usual for _each, usual in waits)
        middle, most = statistics.median(times), times[math.ceil(0.99 * len(times)) - 1]
        numbers = f"{len(times):>6}{middle:>10.1f}{most:>10.1f}{times[-1]:>10.1f}{failed:>8}"
        print(f"{title:<30}{question.title:<17}{numbers}  {answers}".rstrip(), flush=True)
        title = answers = ""


def run(here: Installation, names: list[str], seconds: float) -> None:
    targets = prepare(here.database_url)
    questions = questions_of(targets)
    measure(here.port, questions, 1)  # warm-up
    numbers = f"{'asked':>6}{'median':>10}{'99 %':>10}{'worst':>10}{'failed':>8}"
    print(f"{'milliseconds during':<30}{'question':<17}{numbers}  answers to the attack")
    show("no attack", questions, measure(here.port, questions, seconds))
    # The kernel accepts the connections; nothing reads from them.
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        port = silent.getsockname()[1]
        chosen = [each for each in enumerate(attacks_of(targets, port)) if each[1].name in names]
        for number, attack in chosen:
            with ProcessPoolExecutor(1) as beside:
                running = beside.submit(carry_out, here.port, targets, port, number, HEAD_START + seconds)
                time.sleep(HEAD_START)
                found = measure(here.port, questions, seconds)
                answers = ", ".join(f"{what}: {times}" for what, times in running.result().most_common())
            show(attack.title, questions, found, answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="how long each measurement takes")
    names = ("silent", "bomb", "lock", "parts")
    parser.add_argument("--attacks", nargs="*", choices=names, default=names)
    how = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mg-attacks-") as folder:
        here = Installation(Path(folder) / "here")
        try:
            here.start()
            run(here, how.attacks, how.seconds)
        finally:
            here.stop()


if __name__ == "__main__":
    main()
