"""Fault drill: run a complete installation against a faulty mail server and kill its processes.

Proves that no recipient is lost and none gets an email twice, whichever process dies by SIGKILL at a random
time. The parts are those of ``mailganer serve``, without its pages. Only the clock differs: it runs faster
(``mailganer.fast_clock``), so that the day a sender waits after "daily limit exceeded" passes in seconds.
"""

import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from sqlalchemy import select

from .. import broker
from ..campaigns.counts import campaign_counts
from ..cli.processes import Part, ProcessTree, python
from ..errors import MailganerError
from ..i18n.translator import translate_sentence
from ..models import Campaign, CampaignStatus, Sender
from ..sending.context import SendingContext, open_sending_context
from ..settings import ENVIRONMENT, Settings
from . import server
from .installation import DEPTH, create_campaign, final_rows, make_database, write_settings
from .kills import CHECK_EVERY, PartKiller
from .record import PORT, RECORD, read_record
from .verdict import Allowed, Findings, judge

COUNT_EVERY = 0.5  # seconds between two reads of the database
STUCK_AFTER = 180.0  # seconds without any progress: then the drill ends and reports who is missing


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
        settings = write_settings(folder, options.database_url, _port(tree, post))
        make_database(settings)
        return _Drill(options, settings, tree, post, watch).run(begun)
    finally:
        tree.stop()


def _port(tree: ProcessTree, post: Path) -> int:
    path = post / PORT
    deadline = time.monotonic() + 30
    while not path.exists():
        if time.monotonic() > deadline or tree.stopping:
            raise MailganerError("The drill's mail server does not start.")
        time.sleep(CHECK_EVERY)
    return int(path.read_text())


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
        self._context: SendingContext = open_sending_context(settings)
        self._record = _Tail(post / RECORD)
        self._killer = PartKiller(tree, settings, self._chance)

    def run(self, begun: float) -> DrillOutcome:
        try:
            port = int((self._post / PORT).read_text())
            addresses = create_campaign(self._context, self._settings, self._options.recipients, port)
            self._tree.start(Part("broker", broker.command(self._settings), last=True))
            self._tree.start(Part("worker", python("worker")))
            self._tree.start(Part("beat", python("beat")))
            self._until_settled()
            rows = list(final_rows(self._context))
        finally:
            self._context.engine.dispose()
        record = read_record(self._post)
        allowed = Allowed(self._killer.record.handed, record.dropped * DEPTH)
        return DrillOutcome(
            findings=judge(addresses, rows, record.taken, allowed),
            kills=self._killer.record.kills,
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
                self._kill_at.pop(0)
                self._killer.kill_one()
                moved = now
            if now - counted >= COUNT_EVERY:
                counted = now
                self._tree.look()
                finished, found, doing = self._count()
                moved, settled = (now if found != settled else moved), found
                self._watch(
                    DrillSnapshot(
                        self._options.recipients, settled, sum(self._killer.record.kills.values()), doing
                    )
                )
                if finished or now - moved > STUCK_AFTER:
                    return
            time.sleep(CHECK_EVERY)

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
