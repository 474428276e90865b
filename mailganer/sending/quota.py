"""Taking from the quota: in the commit that marks letters, and giving back in the one that settles them.

The order of locks is the same everywhere: sender, account, batch, deliveries, usage.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..campaigns.allowance import account_allowance, frees_at, minute_of, sender_allowance
from ..models import Account, Base, Departure, Sender, Usage

__all__ = [
    "FREE",
    "UNKNOWN_USAGE",
    "Counter",
    "Room",
    "frees_at",
    "lock",
    "move_used",
    "note_left",
    "room",
    "settle",
    "use",
]

UNKNOWN_USAGE = timedelta(hours=1)  # after "enough for today" from a server that we have sent nothing to


class Counter(StrEnum):
    """Whose limit is used up."""

    sender = "sender"
    plan = "plan"


@dataclass(frozen=True)
class Room:
    """How many letters may leave now (None: any number); if none, whose limit it is, and until when."""

    letters: int | None
    counter: Counter | None = None
    until: datetime | None = None


FREE = Room(None)


def lock(session: Session, sender_id: int, account_id: int, *, sender: bool, plan: bool) -> None:
    """Makes the others wait until our transaction ends, where there is a limit to be kept among us."""
    if sender:
        session.execute(_LOCK_SENDER, {"id": sender_id})
    if plan:
        session.execute(_LOCK_ACCOUNT, {"id": account_id})


def room(
    session: Session,
    sender_id: int,
    account_id: int,
    *,
    sender_limit: int | None,
    plan_limit: int | None,
    now: datetime,
) -> Room:
    """What may leave now. Exact only under :func:`lock`."""
    letters: int | None = None
    for counter, limit in ((Counter.sender, sender_limit), (Counter.plan, plan_limit)):
        if limit is None:
            continue
        if counter is Counter.sender:
            allowance = sender_allowance(session, sender_id, limit, now)
        else:
            allowance = account_allowance(session, account_id, limit, now)
        remaining = allowance.remaining or 0
        if remaining == 0:
            return Room(0, counter, allowance.waits_until)
        letters = remaining if letters is None else min(letters, remaining)
    return Room(letters)


def use(session: Session, sender_id: int, account_id: int, letters: int, now: datetime) -> int:
    """Notes letters as leaving now, and answers the minute they are noted under."""
    minute = minute_of(now)
    if letters:
        _add(session, sender_id, account_id, minute, letters)
    return minute


def settle(
    session: Session, sender_id: int, account_id: int, *, minute: int, taken: int, used: int, now: datetime
) -> None:
    """Of ``taken`` letters noted under ``minute``, ``used`` have left, by now: the rest is given back.

    They count from the minute of the answer: the server, which counts too, may have had them only then.
    """
    present = max(minute, minute_of(now))
    if present == minute:
        if used != taken:
            _add(session, sender_id, account_id, minute, used - taken)
        return
    if taken:
        _add(session, sender_id, account_id, minute, -taken)
    if used:
        _add(session, sender_id, account_id, present, used)


def move_used(session: Session, sender_id: int, *, minute: int, letters: int) -> None:
    """Takes letters out of a minute that turned out not to have left."""
    session.execute(
        update(Usage)
        .where(Usage.sender_id == sender_id, Usage.minute == minute, Usage.letters >= letters)
        .values(letters=Usage.letters - letters)
    )


def note_left(session: Session, campaign_id: int, sender_id: int, letters: int, now: datetime) -> None:
    """Notes letters that a server took: for the campaign's report, beside what counts for the quota.

    A doubtful letter is not among them, whatever it turns out to be: no letter is ever counted twice.
    """
    if letters:
        noted = {
            "campaign_id": campaign_id,
            "sender_id": sender_id,
            "minute": minute_of(now),
            "letters": letters,
        }
        session.execute(_NOTE_LEFT[session.get_bind().dialect.name], noted)


def _add(session: Session, sender_id: int, account_id: int, minute: int, letters: int) -> None:
    used = {"sender_id": sender_id, "account_id": account_id, "minute": minute, "letters": letters}
    session.execute(_ADD_USAGE[session.get_bind().dialect.name], used)


# Built once: these are part of every window.


def _added(model: type[Base], *key: str) -> dict[str, Any]:
    """By dialect: a row with ``letters``, added to those of the row with the same key."""
    table = cast(Table, model.__table__)
    found = {}
    for dialect in (postgresql, sqlite):
        row = dialect.insert(table)
        found[dialect.__name__.rpartition(".")[2]] = row.on_conflict_do_update(
            index_elements=[table.c[name] for name in key],
            set_={"letters": table.c.letters + row.excluded.letters},
        )
    return found


_NOTE_LEFT = _added(Departure, "campaign_id", "sender_id", "minute")
_ADD_USAGE = _added(Usage, "sender_id", "minute")


def _locked(model: type[Base]) -> Any:
    # "No key": rows that only point at these may be written meanwhile.
    table = cast(Table, model.__table__)
    return select(table.c.id).where(table.c.id == bindparam("id")).with_for_update(key_share=True)


_LOCK_SENDER, _LOCK_ACCOUNT = _locked(Sender), _locked(Account)
