"""Fault drill: run a complete installation against a faulty mail server and kill its processes.

Proves that no recipient is lost and none gets an email twice, whichever process dies by SIGKILL at a random
time. The parts are those of ``mailganer serve``, without its pages. Only the clock differs: it runs faster
(``mailganer.fast_clock``), so that the day a sender waits after "daily limit exceeded" passes in seconds.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from sqlalchemy import insert, inspect, select
from sqlalchemy.orm import Session

from .. import broker
from ..accounts import network_of
from ..backends import load_backends
from ..campaigns import state_changes
from ..campaigns.counts import campaign_counts
from ..cli.processes import Part, ProcessTree, python
from ..db import make_engine
from ..errors import Conflict, MailganerError
from ..i18n.translator import translate_sentence
from ..migrations import migrate
from ..models import (
    Account,
    Campaign,
    CampaignStatus,
    Delivery,
    Sender,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    list_member,
)
from ..sending.context import SendingContext, open_sending_context
from ..sending.worker import journal
from ..settings import ENVIRONMENT, Settings, load
from . import server
from .verdict import Allowed, DrillRow, Findings, judge

SPEED = 7200  # two hours a second: a day's wait takes twelve seconds, and a lease lasts as long as ever
DEPTH = 8  # emails that may be unanswered on one connection
CONNECTIONS = 8
ROWS_AT_ONCE = 5000
LOOK_EVERY = 0.02  # seconds
COUNT_EVERY = 0.5  # seconds between two reads of the database
STUCK_AFTER = 180.0  # seconds without any progress: then the drill ends and reports who is missing
DYING = 5.0  # seconds a killed process may take to end
PARTS = ("worker", "child", "broker", "beat")
WEIGHTS = (5, 3, 2, 1)
EMAIL = """<p>Dear {{ first_name }}, this is email {{ number }}.</p>
<p><a href="https://example.com/news">Read on</a>.</p>"""


@dataclass(frozen=True)
class DrillOptions:
    """Options of a drill."""

    recipients: int
    kills: int
    seed: str
    database_url: str = ""  # empty: SQLite in the drill's folder


@dataclass(frozen=True)
class DrillSnapshot:
    """Progress of a drill, for display."""

    total: int
    settled: int
    kills: int
    doing: str


@dataclass
class Damage:
    """What has been broken on purpose."""

    kills: Counter[str] = field(default_factory=Counter)
    handed: int = 0  # emails that were handed over and unanswered at the kills
    journals: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class DrillOutcome:
    """Result of a drill."""

    findings: Findings
    kills: Counter[str]
    drops: int
    refusals: Counter[str]
    seconds: float


def drill(
    options: DrillOptions, folder: Path, watch: Callable[[DrillSnapshot], None], say: Callable[[str], None]
) -> DrillOutcome:
    """Run a drill in an empty folder. Raises ``Conflict`` for a database that is not empty."""
    for name in ENVIRONMENT:  # they would override the drill's own settings
        os.environ.pop(name, None)
    begun = time.monotonic()
    tree = ProcessTree(say, folder / "log")
    tree.listen()
    try:
        post = folder / "server"
        post.mkdir()
        server_module = (sys.executable, "-m", server.__name__)
        tree.start(
            Part("server", (*server_module, str(post), options.seed, str(options.recipients)), last=True)
        )
        settings = _settings(folder, options, _port(tree, post))
        _make_database(settings)
        return _Drill(options, settings, tree, post, watch).run(begun)
    finally:
        tree.stop()


def _port(tree: ProcessTree, post: Path) -> int:
    path = post / server.PORT
    deadline = time.monotonic() + 30
    while not path.exists():
        if time.monotonic() > deadline or tree.stopping:
            raise MailganerError("The drill's mail server does not start.")
        time.sleep(LOOK_EVERY)
    return int(path.read_text())


def _settings(folder: Path, options: DrillOptions, port: int) -> Settings:
    """Write an ini file for the drill's installation, which its parts read as well, and load it."""
    values = {
        "use": "egg:mailganer",
        "sqlalchemy.url": options.database_url or f"sqlite:///{folder / 'drill.sqlite'}",
        "mailganer.secret_key": secrets.token_hex(32),
        "mailganer.public_url": "https://drill.example.com",
        "mailganer.data_dir": str(folder / "data"),
        "mailganer.backends": "smtp",
        "mailganer.backend.smtp.open_relay": "true",
        "mailganer.backend.smtp.depth": str(DEPTH),
        "mailganer.allow_private_smtp_hosts": "true",
        "mailganer.smtp_ports": str(port),
        "mailganer.plans": "drill",
        "mailganer.plan.drill.title": "Drill",
        # By this clock twelve seconds are a day.
        "mailganer.latest_start_hours": "876000",
        "mailganer.fast_clock": f"{datetime.now(UTC).isoformat()} {SPEED}",
    }
    ini = folder / "drill.ini"
    lines = (f"{key} = {value.replace('%', '%%')}\n" for key, value in values.items())
    ini.touch(mode=0o600)
    ini.write_text("[app:main]\n" + "".join(lines))
    os.environ["MAILGANER_INI"] = str(ini)
    return load(ini)


def _make_database(settings: Settings) -> None:
    engine = make_engine(settings.database_url)
    try:
        if inspect(engine).get_table_names():
            raise Conflict("This database holds something. A drill wants an empty one of its own.")
        migrate(engine)
    finally:
        engine.dispose()


class _Drill:
    """One drill with running parts."""

    def __init__(
        self,
        options: DrillOptions,
        settings: Settings,
        tree: ProcessTree,
        post: Path,
        watch: Callable[[DrillSnapshot], None],
    ) -> None:
        self._options, self._settings, self._tree, self._post, self._watch = (
            options,
            settings,
            tree,
            post,
            watch,
        )
        self._chance = Random(f"{options.seed}/kills")  # noqa: S311 - repeatable, not secret
        self._kill_at = sorted(
            int(options.recipients * self._chance.uniform(0.01, 0.9)) for _each in range(options.kills)
        )
        self._damage = Damage()
        self._context: SendingContext = open_sending_context(settings)
        self._record = _Tail(post / server.RECORD)

    def run(self, begun: float) -> DrillOutcome:
        try:
            port = int((self._post / server.PORT).read_text())
            addresses = _create_campaign(self._context, self._settings, self._options.recipients, port)
            self._tree.start(Part("broker", broker.command(self._settings), last=True))
            self._tree.start(Part("worker", python("worker")))
            self._tree.start(Part("beat", python("beat")))
            self._until_settled()
            rows = list(_rows(self._context))
        finally:
            self._context.engine.dispose()
        record = server.read_record(self._post)
        allowed = Allowed(self._damage.handed, record.dropped * DEPTH)
        return DrillOutcome(
            findings=judge(addresses, rows, record.taken, allowed),
            kills=self._damage.kills,
            drops=record.dropped,
            refusals=record.refusals or Counter(),
            seconds=time.monotonic() - begun,
        )

    def _until_settled(self) -> None:
        moved, counted, settled = time.monotonic(), 0.0, 0
        while True:
            now = time.monotonic()
            if self._tree.stopping:
                raise KeyboardInterrupt
            if self._record.read():
                moved = now
            if self._kill_at and self._record.emails >= self._kill_at[0]:
                self._kill_one()
                moved = now
            if now - counted >= COUNT_EVERY:
                counted = now
                self._tree.look()
                finished, found, doing = self._count()
                moved, settled = (now if found != settled else moved), found
                self._watch(
                    DrillSnapshot(self._options.recipients, settled, sum(self._damage.kills.values()), doing)
                )
                if finished or now - moved > STUCK_AFTER:
                    return
            time.sleep(LOOK_EVERY)

    def _count(self) -> tuple[bool, int, str]:
        with self._context.readers() as session:
            campaign = session.scalars(select(Campaign)).one()
            sender = session.scalars(select(Sender)).one()
            counts = campaign_counts(session, [campaign.id])[campaign.id]
        if campaign.status is CampaignStatus.paused:
            raise MailganerError(
                f"The campaign was paused: {translate_sentence(campaign.paused_reason or '')}"
            )
        return campaign.status is CampaignStatus.finished, counts.settled, sender.status.value

    # --- faults

    def _kill_one(self) -> None:
        self._kill_at.pop(0)
        time.sleep(self._chance.uniform(0, 0.2))
        # Always kill the worker first: with few kills this is the one that matters most.
        part = self._chance.choices(PARTS, WEIGHTS)[0] if self._damage.kills else "worker"
        self._damage.kills[part] += 1
        if part == "child":
            self._kill_child()
            return
        self._tree.kill(part)
        if part == "worker":
            # Only the end of the main process was awaited: its children hold their journals until they have
            # ended, too.
            _wait(lambda: all(map(journal.is_abandoned, self._settings.journals.glob("*.journal"))))
            self._count_handed()
        if part == "broker" and self._chance.random() < 0.5:
            self._damage.kills["broker, and what it knew"] += 1
            shutil.rmtree(broker.folder(self._settings), ignore_errors=True)
            broker.folder(self._settings).mkdir(parents=True)
        time.sleep(self._chance.uniform(0, 1))
        self._tree.start_again(part)

    def _kill_child(self) -> None:
        """Kill one process of the worker's pool.

        The others are stopped while its journal is read: they would settle its emails at once.
        """
        pid = self._tree.pid("worker")
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGSTOP)
            try:
                children = _children(pid)
                if children:
                    child = self._chance.choice(children)
                    os.kill(child, signal.SIGKILL)
                    _wait(lambda: _is_dead(child))
                    self._count_handed()
            finally:
                os.killpg(pid, signal.SIGCONT)

    def _count_handed(self) -> None:
        """Count emails without an answer in the journals of the processes that were just killed."""
        for path in self._settings.journals.glob("*.journal"):
            remains = journal.read(path)
            if remains is None or not remains.abandoned or path.name in self._damage.journals:
                continue
            self._damage.journals.add(path.name)
            self._damage.handed += sum(note.state == journal.HANDED for note in remains.notes)


class _Tail:
    """Counts the emails in a growing record."""

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, 0
        self.emails = 0

    def read(self) -> bool:
        """Return whether there was anything new."""
        if not self._path.exists():
            return False
        with self._path.open("rb") as file:
            file.seek(self._place)
            new = file.read()
        self._place += len(new)
        self.emails += len(re.findall(rb"^taken\t", new, re.MULTILINE))
        return bool(new)


def _children(pid: int) -> Sequence[int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="],  # noqa: S607 - wherever this system has it
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = (line.split() for line in listed.stdout.splitlines())
    return sorted(int(child) for child, parent in pairs if int(parent) == pid)


def _is_dead(pid: int) -> bool:
    """Return whether a process has ended with all its threads: only then its journals are unlocked.

    Its parent is stopped and has not reaped it yet.
    """
    seen = subprocess.run(  # noqa: S603 - a number of our own
        ["ps", "-o", "stat=", "-p", str(pid)],  # noqa: S607 - wherever this system has it
        capture_output=True,
        text=True,
        check=False,
    )
    state = seen.stdout.strip()
    return not state or (state.startswith("Z") and "l" not in state)  # "l": some of its threads are left


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DYING
    while not until() and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)


# --- the campaign and its result


def _create_campaign(context: SendingContext, settings: Settings, number: int, port: int) -> Sequence[str]:
    """Create an account with a list, a sender and a campaign that starts now; return the addresses."""
    now = context.now()
    addresses = [f"reader{each:07}@example.org" for each in range(1, number + 1)]
    with context.sessions.begin() as session:
        account = Account(email="drill@example.com", plan="drill", created_at=now)
        session.add(account)
        session.flush()
        lst = SubscriberList(account_id=account.id, name="Drill", created_at=now)
        sender = Sender(
            account_id=account.id,
            name="Drill",
            from_name="Drill",
            from_email="drill@example.com",
            backend="smtp",
            settings={"host": "127.0.0.1", "port": port, "security": "none", "username": ""},
            max_connections=CONNECTIONS,
            created_at=now,
            verified_at=now,
        )
        session.add_all([lst, sender])
        session.flush()
        _fill(session, account.id, lst.id, addresses, now)
        campaign = Campaign(
            account_id=account.id,
            name="Drill",
            subject="Email {{ number }}",
            html=EMAIL,
            created_at=now,
            updated_at=now,
        )
        campaign.lists.append(lst)
        campaign.senders.append(sender)
        session.add(campaign)
        session.flush()
    registry = load_backends(settings.backends, settings.backend_options, network_of(settings))
    with context.sessions() as session:
        campaign = session.get_one(Campaign, campaign.id)
        state_changes.schedule(session, campaign, None, now, settings=settings, registry=registry)
        session.commit()
    return addresses


def _fill(session: Session, account_id: int, list_id: int, addresses: Sequence[str], now: datetime) -> None:
    for begin in range(0, len(addresses), ROWS_AT_ONCE):
        rows = [
            {
                "account_id": account_id,
                "email": email,
                "email_key": email,
                "first_name": "Reader",
                "fields": {"number": email[6:13]},
                "status": SubscriberStatus.active,
                "created_at": now,
                "updated_at": now,
            }
            for email in addresses[begin : begin + ROWS_AT_ONCE]
        ]
        ids = session.scalars(insert(Subscriber).returning(Subscriber.id), rows)
        members = [{"list_id": list_id, "subscriber_id": each, "added_at": now} for each in ids]
        session.execute(insert(list_member), members)


def _rows(context: SendingContext) -> Iterator[DrillRow]:
    columns = (Delivery.email, Delivery.status, Delivery.reason, Delivery.reply, Delivery.attempts)
    with context.readers() as session:
        for email, status, reason, reply, attempts in session.execute(select(*columns)):
            yield DrillRow(email, status.value, reason.value if reason else "", reply or "", attempts)


@contextmanager
def temporary_folder(keep: Callable[[], bool]) -> Iterator[Path]:
    """Provide a temporary folder with a short path; it is removed afterwards unless ``keep`` returns true."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="mailganer-drill-"))
    try:
        yield folder
    finally:
        if not keep():
            shutil.rmtree(folder, ignore_errors=True)
