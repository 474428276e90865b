"""Notices a database that was put back to an older copy of itself, and holds what it would send twice.

Every tick leaves the same moment in the database and, once that is committed, in a file beside the journals.
Nobody else writes either of them, and their moment only grows. So a row that is older than the file, or gone,
says that the database has forgotten the time in between: a backup was put back, or a replica took over that
had not heard everything.
"""

import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from ...db import UNTRACKED, upsert
from ...errors import _
from ...logs import Outage
from ...models import Campaign, CampaignStatus, DelayCause, Heartbeat, delays

log = logging.getLogger(__name__)
MARK = Outage("The mark file")

FILE = "mark"
PREFIX = "mark "  # of heartbeats that are marks: those of a machine that is silent for long are not forgotten
_STEP = timedelta(microseconds=1)  # the moment grows though the clock was set back
_NEVER = "-" * len(datetime(2000, 1, 1, tzinfo=UTC).isoformat(timespec="microseconds"))


@dataclass(frozen=True)
class RestoreMark:
    """What a file says: whose mark it is, and the moment that was last committed under this name."""

    name: str
    moment: datetime | None = None


def read(folder: Path) -> RestoreMark | None:
    """The mark of this folder; None when there is none, or none that can be read.

    To be held against the database it has to be read before the transaction begins.
    """
    try:
        return _parsed((folder / FILE).read_bytes())
    except OSError:
        return None


def is_forgotten(session: Session, mark: RestoreMark | None) -> bool:
    """Whether the database no longer knows what it knew when this mark was kept."""
    if mark is None or mark.moment is None:
        return False
    known = _known(session, mark)
    return known is None or known < mark.moment


class RestoreMarkFile:
    """The file, held by one process at a time while it writes to the database and then to the file."""

    def __init__(self, file: int) -> None:
        self._file = file
        found = _parsed(os.pread(file, 200, 0))
        if found is None:
            found = RestoreMark(uuid.uuid4().hex)
            self._write(found)  # takes its room on the disk: from now on it is only written over
        self.mark = self._next = found

    def leave(self, session: Session, now: datetime) -> None:
        """Puts the next moment into the database, after a look at what it still knows."""
        if is_forgotten(session, self.mark):
            known, until = _known(session, self.mark), self.mark.moment or now
            log.error("the database was put back: it knows nothing after %s, it had come to %s", known, until)
            pause_forgotten_campaigns(session, known, until, now)
        moment = now if self.mark.moment is None else max(now, self.mark.moment + _STEP)
        row = upsert(session, Heartbeat).values(name=PREFIX + self.mark.name, seen_at=moment)
        session.execute(row.on_conflict_do_update(index_elements=[Heartbeat.name], set_={"seen_at": moment}))
        self._next = replace(self.mark, moment=moment)

    def keep(self) -> None:
        """After the commit. A file that stays behind the row says nothing wrong."""
        try:
            self._write(self._next)
            MARK.ended(log)
        except OSError as error:
            MARK.began(log, "no mark can be kept: %s", error)

    def _write(self, mark: RestoreMark) -> None:
        moment = mark.moment.astimezone(UTC).isoformat(timespec="microseconds") if mark.moment else _NEVER
        os.pwrite(self._file, f"{mark.name} {moment}\n".encode(), 0)


@contextmanager
def open_mark(folder: Path) -> Iterator[RestoreMarkFile | None]:
    """The mark of this folder, for us alone; None while somebody else has it, who looks then as we would, and
    may be stopped in the middle of it: nobody waits for him. None too when the disk takes no file."""
    try:
        file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        MARK.began(log, "no mark can be kept: %s", error)
        yield None
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = RestoreMarkFile(file)
        except BlockingIOError:
            yield None
        except OSError as error:
            MARK.began(log, "no mark can be kept: %s", error)
            yield None
        else:
            yield found
    finally:
        os.close(file)


def _parsed(content: bytes) -> RestoreMark | None:
    try:
        name, moment = content.decode().split()
        return RestoreMark(name, None if moment == _NEVER else datetime.fromisoformat(moment))
    except ValueError:
        return None


def _known(session: Session, mark: RestoreMark) -> datetime | None:
    return session.scalar(select(Heartbeat.seen_at).where(Heartbeat.name == PREFIX + mark.name))


def pause_forgotten_campaigns(
    session: Session, known: datetime | None, until: datetime, now: datetime
) -> int:
    """Pause every campaign that may have sent emails in the time that was forgotten; return how many.

    ``known`` is the moment of the copy, ``until`` the latest moment at which something may have been sent.
    """
    due = and_(Campaign.status == CampaignStatus.scheduled, Campaign.send_at <= until)
    on_its_way = Campaign.status.in_((CampaignStatus.sending, CampaignStatus.paused))
    found = session.execute(
        select(Campaign.id, Campaign.status)
        .where(or_(on_its_way, due))
        .order_by(Campaign.id)
        .with_for_update(key_share=True)
    ).all()
    session.execute(
        update(Campaign)
        .where(Campaign.id.in_([each.id for each in found]))
        .values(status=CampaignStatus.paused, paused_reason=restored_message(known, until), updated_at=now),
        execution_options=UNTRACKED,
    )
    for each in found:
        if each.status is not CampaignStatus.paused:  # what is paused is noted already
            delays.note_pause(session, each.id, DelayCause.halted, now)
    return len(found)


def restored_message(known: datetime | None, until: datetime) -> str:
    """What a campaign's person is asked. ``known``: the moment of the copy, where that can be told."""
    if known is None:
        return _(
            "The database of this installation was put back to an older copy. What this campaign sent "
            "until ${until} may be unknown to it now and would be sent again. Nothing more is sent until "
            "you say so: go on sending or stop it.",
            mapping={"until": until},
        )
    return _(
        "The database of this installation was put back to a copy of ${known}. What this campaign sent "
        "between then and ${until} may be unknown to it now and would be sent again. Nothing more is "
        "sent until you say so: go on sending or stop it.",
        mapping={"known": known, "until": until},
    )
