"""Detect a database restored from an older copy, and pause the campaigns that it would send twice.

Every tick writes the same timestamp to the database and, after the commit, to a file beside the journals.
Nothing else writes either, and the timestamp only grows. So a row that is older than the file, or missing,
means that the database has lost the time in between: a backup was restored, or a replica that lagged behind
was promoted.
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
from ...models import Campaign, CampaignStatus, DelayCause, RestoreMark, delays

log = logging.getLogger(__name__)
MARK = Outage("The mark file")

FILE = "mark"
_STEP = timedelta(microseconds=1)  # the timestamp grows even when the clock was set back
_NEVER = "-" * len(datetime(2000, 1, 1, tzinfo=UTC).isoformat(timespec="microseconds"))


@dataclass(frozen=True)
class FileMark:
    """Content of a mark file: its name, and the timestamp last committed to the database under that name."""

    name: str
    moment: datetime | None = None


def read(folder: Path) -> FileMark | None:
    """Return the mark of this folder, or None when there is none or it is unreadable.

    Read it before beginning the transaction that compares it with the database.
    """
    try:
        return _parsed((folder / FILE).read_bytes())
    except OSError:
        return None


def is_forgotten(session: Session, mark: FileMark | None) -> bool:
    """Return whether the database has lost what it knew when this mark was written."""
    if mark is None or mark.moment is None:
        return False
    known = _known(session, mark)
    return known is None or known < mark.moment


class MarkFile:
    """The mark file, locked by one process while it writes to the database and then to the file."""

    def __init__(self, file: int) -> None:
        self._file = file
        found = _parsed(os.pread(file, 200, 0))
        if found is None:
            found = FileMark(uuid.uuid4().hex)
            self._write(found)  # allocates the space on the disk: from now on the file is only overwritten
        self.mark = self._next = found

    def leave(self, session: Session, now: datetime) -> None:
        """Write the next timestamp to the database, after checking what the database still knows."""
        if is_forgotten(session, self.mark):
            known, until = _known(session, self.mark), self.mark.moment or now
            log.error("the database was put back: it knows nothing after %s, it had come to %s", known, until)
            pause_forgotten_campaigns(session, known, until, now)
        moment = now if self.mark.moment is None else max(now, self.mark.moment + _STEP)
        row = upsert(session, RestoreMark).values(name=self.mark.name, moment=moment)
        session.execute(row.on_conflict_do_update(index_elements=[RestoreMark.name], set_={"moment": moment}))
        self._next = replace(self.mark, moment=moment)

    def keep(self) -> None:
        """Write the timestamp to the file, after the commit. A file older than the row is no false alarm."""
        try:
            self._write(self._next)
            MARK.ended(log)
        except OSError as error:
            MARK.began(log, "no mark can be kept: %s", error)

    def _write(self, mark: FileMark) -> None:
        moment = mark.moment.astimezone(UTC).isoformat(timespec="microseconds") if mark.moment else _NEVER
        os.pwrite(self._file, f"{mark.name} {moment}\n".encode(), 0)


@contextmanager
def open_mark(folder: Path) -> Iterator[MarkFile | None]:
    """Lock and yield the mark file of this folder; yield None while another process holds it.

    That process performs the same check and may be stopped in the middle of it, so do not wait for it. Yield
    None also when the file cannot be created or locked.
    """
    try:
        file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        MARK.began(log, "no mark can be kept: %s", error)
        yield None
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = MarkFile(file)
        except BlockingIOError:
            yield None
        except OSError as error:
            MARK.began(log, "no mark can be kept: %s", error)
            yield None
        else:
            yield found
    finally:
        os.close(file)


def _parsed(content: bytes) -> FileMark | None:
    try:
        name, moment = content.decode().split()
        return FileMark(name, None if moment == _NEVER else datetime.fromisoformat(moment))
    except ValueError:
        return None


def _known(session: Session, mark: FileMark) -> datetime | None:
    return session.scalar(select(RestoreMark.moment).where(RestoreMark.name == mark.name))


def pause_forgotten_campaigns(
    session: Session, known: datetime | None, until: datetime, now: datetime
) -> int:
    """Pause every campaign that may have sent emails in the time that was lost; return how many.

    ``known`` is the time of the restored copy, ``until`` the latest time at which something may have been
    sent.
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
        if each.status is not CampaignStatus.paused:  # campaigns already paused have their entry
            delays.note_pause(session, each.id, DelayCause.halted, now)
    return len(found)


def restored_message(known: datetime | None, until: datetime) -> str:
    """Return the question for the campaign's user.

    ``known`` is the time of the restored copy; None when it is unknown.
    """
    if known is None:
        return _(
            "The database was restored from an older backup. Emails sent before ${until} may be "
            "missing from it and would be sent again. Nothing more is sent until you decide: "
            "resume sending or cancel the campaign.",
            mapping={"until": until},
        )
    return _(
        "The database was restored from a backup of ${known}. Emails sent between then and "
        "${until} may be missing from it and would be sent again. Nothing more is sent until "
        "you decide: resume sending or cancel the campaign.",
        mapping={"known": known, "until": until},
    )
