"""The ledger's moves: claim a batch, open a window of it, settle the window, let go.

The only place that changes what a delivery is, and its batch's counts with it, in one transaction (what
proves a doubtful letter sent lies lower, in ``tracking.proof``). Bulk statements over ranges of ids; whoever
changes rows of a batch first takes the batch's row, and only the holder of its newest epoch may.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from ..models import (
    LARGEST_CAMPAIGN,
    WHY_NO_LETTER,
    Batch,
    BatchState,
    Delivery,
    DeliveryStatus,
    Reason,
    Subscriber,
    SubscriberStatus,
    Window,
)
from ..models.meta import UTCDateTime, Words


@dataclass(frozen=True)
class Claim:
    """A batch that is ours until its lease ends or somebody raises its epoch."""

    batch_id: int
    campaign_id: int
    epoch: int
    first_id: int
    last_id: int


class Recipient(NamedTuple):
    """What a lane needs of one delivery and its subscriber, in the order of ``_RECIPIENTS``.

    ``address`` is where the letter goes, ``email`` the subscriber's address by now; whoever was erased has
    None for everything from ``status`` on.
    """

    id: int
    subscriber_id: int | None
    address: str
    token: bytes
    dated_at: datetime
    attempts: int
    first_tried_at: datetime | None
    status: SubscriberStatus
    email: str
    first_name: str
    last_name: str
    birthday: date | None
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Opened:
    """Deliveries marked ``sending``, in the order of their ids."""

    id: int
    claim: Claim
    items: Sequence[Recipient]


class Change(NamedTuple):
    """What becomes of one delivery of a window."""

    id: int
    status: DeliveryStatus
    reason: Reason | None = None
    reply: str | None = None
    tried: bool = False  # counts as an attempt
    not_before: datetime | None = None


# --- claiming


def claim(session: Session, sender_id: int, campaign_id: int, now: datetime, until: datetime) -> Claim | None:
    """The campaign's next batch in which somebody is due, for us; None when there is none that is free."""
    found = session.execute(
        select(Batch.id, Batch.campaign_id, Batch.epoch, Batch.first_id, Batch.last_id)
        .where(Batch.campaign_id == campaign_id, Batch.state == BatchState.open, _due(Batch, now))
        .order_by(Batch.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if found is None:
        return None
    epoch = found.epoch + 1
    session.execute(
        update(Batch)
        .where(Batch.id == found.id)
        .values(state=BatchState.claimed, sender_id=sender_id, epoch=epoch, lease_until=until),
        execution_options=UNTRACKED,
    )
    return Claim(found.id, found.campaign_id, epoch, found.first_id, found.last_id)


def hold(session: Session, claim: Claim, until: datetime) -> bool:
    """Takes the batch's row for this transaction and renews the lease; False when it is no longer ours."""
    held = {"batch": claim.batch_id, "our_epoch": claim.epoch, "until": until}
    return _rows(session.execute(_HOLD, held)) == 1


def let_go(session: Session, claim: Claim) -> None:
    """Gives the batch back: open again, with the moment its next recipient is due, or done."""
    _reopen(session, claim.batch_id, Batch.epoch == claim.epoch)


def reopen_lost(session: Session, batch_id: int, over: ColumnElement[bool]) -> None:
    """Gives back a batch whose claim is ``over`` without anything under way."""
    no_window = ~exists().where(Window.batch_id == Batch.id)
    _reopen(session, batch_id, and_(Batch.state == BatchState.claimed, over, no_window))


def _reopen(session: Session, batch_id: int, condition: ColumnElement[bool]) -> None:
    row = session.execute(
        select(Batch.first_id, Batch.last_id, Batch.pending, Batch.sending)
        .where(Batch.id == batch_id, condition)
        .with_for_update()
    ).first()
    if row is None:
        return
    state, due = BatchState.done, None
    if row.pending:
        state, due = BatchState.open, _next_due(session, row.first_id, row.last_id)
    elif row.sending:
        state = BatchState.claimed
    session.execute(
        update(Batch)
        .where(Batch.id == batch_id)
        .values(state=state, not_before=due, epoch=Batch.epoch + 1, lease_until=None),
        execution_options=UNTRACKED,
    )


def _next_due(session: Session, first_id: int, last_id: int) -> datetime | None:
    """When the first of the range's pending recipients is due; None: at once."""
    pending = (Delivery.id.between(first_id, last_id), Delivery.status == DeliveryStatus.pending)
    at_once = session.scalar(select(Delivery.id).where(*pending, Delivery.not_before.is_(None)).limit(1))
    return None if at_once else session.scalar(select(func.min(Delivery.not_before)).where(*pending))


def _due(table: Any, now: datetime) -> ColumnElement[bool]:
    return or_(table.not_before.is_(None), table.not_before <= now)


# --- a window


def open_window(
    session: Session,
    claim: Claim,
    *,
    sender_id: int,
    letter_id: int,
    size: int,
    host: str,
    process: str,
    journal: str,
    now: datetime,
    until: datetime,
) -> Opened | None:
    """Marks the next ``size`` due recipients of a batch we :func:`hold`; None when nobody is due any more.

    Whoever has left since the campaign was planned is skipped on the way.
    """
    items: list[Recipient] = []
    while not items:
        range_ = {"first": claim.first_id, "last": claim.last_id, "now": now}
        # A row of SQLAlchemy's finds its values by name, several times slower than a tuple of our own.
        found = [Recipient._make(row) for row in session.execute(_RECIPIENTS, {**range_, "size": size})]
        if not found:
            return None
        items = _leave_out(session, claim, found, now)
    first, last = items[0].id, items[-1].id
    ours = {"first": first, "last": last, "now": now, "sender": sender_id, "letter": letter_id}
    marked = _rows(session.execute(_MARK, ours))
    if marked != len(items):
        raise RuntimeError(f"batch {claim.batch_id}: {marked} marked instead of {len(items)}")
    # Not the database's own number: SQLite gives that of a settled window to the next one, and what a journal
    # or a lane still says of the old one would be taken for the new one's.
    window_id = secrets.randbits(62)
    session.execute(
        _NEW_WINDOW,
        {
            "id": window_id,
            "batch_id": claim.batch_id,
            "campaign_id": claim.campaign_id,
            "sender_id": sender_id,
            "epoch": claim.epoch,
            "first_id": first,
            "last_id": last,
            "size": len(items),
            "host": host,
            "process": process,
            "journal": journal,
            "opened_at": now,
            "lease_until": until,
        },
    )
    _count(session, claim.batch_id, Counter(pending=-len(items), sending=len(items)))
    return Opened(window_id, claim, items)


def _leave_out(session: Session, claim: Claim, found: Sequence[Recipient], now: datetime) -> list[Recipient]:
    """Skips those who must not get the letter any more, and answers the others."""
    stay = [row for row in found if row.status is SubscriberStatus.active]
    if len(stay) == len(found):
        return stay
    skipped = [
        Change(row.id, DeliveryStatus.skipped, WHY_NO_LETTER.get(row.status, Reason.erased))
        for row in found
        if row.status is not SubscriberStatus.active
    ]
    _apply(session, skipped, DeliveryStatus.pending, now)
    _count(session, claim.batch_id, Counter(pending=-len(skipped), skipped=len(skipped)))
    return stay


class Settled(Enum):
    """How a window was settled."""

    whole = "whole"
    late = "late"  # it was taken from us meanwhile: only what the server has had is kept, over a doubt
    forgotten = "forgotten"  # so did the database, which was put back: it is kept over "pending"


def settle(session: Session, window: Opened, changes: Sequence[Change], now: datetime) -> Settled:
    """Writes down what became of a window, all of it, unless it is ours no longer."""
    claim = window.claim
    if not _forget(session, window.id):
        return _settle_late(session, claim.batch_id, changes, now)
    _close(session, claim.batch_id, changes, now)
    return Settled.whole


def settle_left_over(
    session: Session, batch_id: int, window_id: int, changes: Sequence[Change], now: datetime
) -> bool:
    """The same for a window whose lane is gone, by the sweep, which gives the batch back as well."""
    session.execute(select(Batch.id).where(Batch.id == batch_id).with_for_update())
    if not _forget(session, window_id):
        return False
    _close(session, batch_id, changes, now)
    _reopen(session, batch_id, Batch.id == batch_id)
    return True


def _close(session: Session, batch_id: int, changes: Sequence[Change], now: datetime) -> None:
    moved = _apply(session, changes, DeliveryStatus.sending, now)
    if moved != len(changes):
        raise RuntimeError(f"batch {batch_id}: {moved} settled instead of {len(changes)}")
    counts = Counter(change.status.value for change in changes)
    counts[DeliveryStatus.sending.value] -= len(changes)
    _count(session, batch_id, counts)


def _settle_late(session: Session, batch_id: int, changes: Sequence[Change], now: datetime) -> Settled:
    session.execute(select(Batch.id).where(Batch.id == batch_id).with_for_update())
    accepted = [change for change in changes if change.status is DeliveryStatus.sent]
    doubtful = [change for change in changes if change.status is DeliveryStatus.in_doubt]
    proven = _apply(session, accepted, DeliveryStatus.in_doubt, now)
    sent = _apply(session, accepted, DeliveryStatus.pending, now)
    doubts = _apply(session, doubtful, DeliveryStatus.pending, now)
    counts = Counter(in_doubt=doubts - proven, sent=proven + sent, pending=-sent - doubts)
    _count(session, batch_id, counts)
    # Whoever takes a window from us gives nobody back who was handed over: only a copy can say "pending".
    return Settled.forgotten if sent or doubts else Settled.late


def of_journal(session: Session, journal: str) -> Sequence[Any]:
    """The windows that were opened under this journal's name and are not settled."""
    return session.execute(
        select(
            Window.id, Window.batch_id, Window.first_id, Window.last_id, Window.size, Window.opened_at
        ).where(Window.journal == journal)
    ).all()


def untouched(session: Session, first_id: int, last_id: int) -> list[Change]:
    """Changes that give a whole range back, as if nobody had asked for it."""
    ids = session.scalars(
        select(Delivery.id).where(
            Delivery.id.between(first_id, last_id), Delivery.status == DeliveryStatus.sending
        )
    )
    return [Change(each, DeliveryStatus.pending) for each in ids]


# --- by a person's click, or by proof


def take_back(session: Session, ids: Sequence[int], now: datetime) -> int:
    """Failed deliveries that were not their recipients' fault are pending again, and have a new day."""
    changes = [Change(each, DeliveryStatus.pending) for each in ids]
    moved = _move(session, changes, DeliveryStatus.failed, now)
    session.execute(
        update(Delivery)
        .where(Delivery.id.in_(ids), Delivery.status == DeliveryStatus.pending)
        .values(first_tried_at=None),
        execution_options=UNTRACKED,
    )
    return moved


def end_doubt(session: Session, changes: Sequence[Change], now: datetime) -> int:
    """Doubtful deliveries become sent, or pending again. Answers how many really were in doubt."""
    return _move(session, changes, DeliveryStatus.in_doubt, now)


def cancel_batch(session: Session, batch_id: int, now: datetime) -> None:
    """Nobody of an open batch gets the letter any more."""
    row = session.execute(
        select(Batch.first_id, Batch.last_id, Batch.state).where(Batch.id == batch_id).with_for_update()
    ).one()
    if row.state is not BatchState.open:
        return
    skipped = session.execute(
        update(Delivery)
        .where(Delivery.id.between(row.first_id, row.last_id), Delivery.status == DeliveryStatus.pending)
        .values(status=DeliveryStatus.skipped, reason=Reason.cancelled, settled_at=now, not_before=None),
        execution_options=UNTRACKED,
    )
    number = _rows(skipped)
    _count(session, batch_id, Counter(pending=-number, skipped=number))
    _reopen(session, batch_id, Batch.id == batch_id)


def _move(session: Session, changes: Sequence[Change], source: DeliveryStatus, now: datetime) -> int:
    """Moves settled deliveries, batch by batch; their batches are open again where somebody is pending."""
    moved = 0
    for batch_id, of_batch in _by_batch(session, changes):
        still = _still(session, of_batch, source)
        done = _apply(session, still, source, now)
        counts = Counter(change.status.value for change in still)
        counts[source.value] -= done
        _count(session, batch_id, counts)
        state = session.scalar(select(Batch.state).where(Batch.id == batch_id))
        if state is not BatchState.claimed:
            _reopen(session, batch_id, Batch.id == batch_id)
        moved += done
    return moved


def _still(session: Session, changes: Sequence[Change], source: DeliveryStatus) -> list[Change]:
    """Those whose delivery is in this state now, and stays so until we are done."""
    ids = set(
        session.scalars(
            select(Delivery.id)
            .where(Delivery.id.in_([change.id for change in changes]), Delivery.status == source)
            .order_by(Delivery.id)
            .with_for_update()
        )
    )
    return [change for change in changes if change.id in ids]


def _by_batch(session: Session, changes: Sequence[Change]) -> Iterable[tuple[int, list[Change]]]:
    left = sorted(changes, key=lambda change: change.id)
    while left:
        row = session.execute(
            select(Batch.id, Batch.last_id)
            .where(
                Batch.campaign_id == left[0].id // LARGEST_CAMPAIGN,
                Batch.first_id <= left[0].id,
                Batch.last_id >= left[0].id,
            )
            .with_for_update()
        ).one()
        own = [change for change in left if change.id <= row.last_id]
        left = left[len(own) :]
        yield row.id, own


# --- the statements underneath: built once, for building one costs several times as much as running it

_TABLE = cast(Table, Delivery.__table__)
_PEOPLE = cast(Table, Subscriber.__table__)
_BATCHES = cast(Table, Batch.__table__)
_WINDOWS = cast(Table, Window.__table__)

_NOW = bindparam("now", type_=UTCDateTime())
_WAITING = (
    _TABLE.c.id.between(bindparam("first"), bindparam("last")),
    _TABLE.c.status == DeliveryStatus.pending,
    or_(_TABLE.c.not_before.is_(None), _TABLE.c.not_before <= _NOW),
)

_RECIPIENTS = (
    select(
        _TABLE.c.id,
        _TABLE.c.subscriber_id,
        _TABLE.c.email.label("address"),
        _TABLE.c.token,
        _TABLE.c.dated_at,
        _TABLE.c.attempts,
        _TABLE.c.first_tried_at,
        _PEOPLE.c.status,
        _PEOPLE.c.email,
        _PEOPLE.c.first_name,
        _PEOPLE.c.last_name,
        _PEOPLE.c.birthday,
        _PEOPLE.c.fields,
    )
    .select_from(_TABLE.outerjoin(_PEOPLE, _PEOPLE.c.id == _TABLE.c.subscriber_id))
    .where(*_WAITING)
    .order_by(_TABLE.c.id)
    .limit(bindparam("size"))
)
_MARK = (
    update(_TABLE)
    .where(*_WAITING)
    .values(
        status=DeliveryStatus.sending,
        sender_id=bindparam("sender"),
        letter_id=bindparam("letter"),
        first_tried_at=func.coalesce(_TABLE.c.first_tried_at, _NOW),
        not_before=None,
    )
)

_HOLD = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch"), _BATCHES.c.epoch == bindparam("our_epoch"))
    .values(lease_until=bindparam("until"))
)

_NEW_WINDOW = insert(_WINDOWS)

_FORGET_WINDOW = sql_delete(_WINDOWS).where(_WINDOWS.c.id == bindparam("window"))

_ADD_TO_COUNTS = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch"))
    .values(
        {state.value: _BATCHES.c[state.value] + bindparam(f"more_{state.value}") for state in DeliveryStatus}
    )
)


def _forget(session: Session, window_id: int) -> bool:
    """Whether the window was there, and is not any more."""
    return _rows(session.execute(_FORGET_WINDOW, {"window": window_id})) == 1


def _apply(session: Session, changes: Sequence[Change], source: DeliveryStatus, now: datetime) -> int:
    """Writes changes to deliveries that are ``source`` now, and answers how many were."""
    if not changes:
        return 0
    if session.get_bind().dialect.name == "postgresql":
        if len({change[1:3] + change[4:] for change in changes}) == 1:
            return _rows(session.execute(_UPDATE_ALIKE, _alike(changes, source, now)))
        return _rows(session.execute(_UPDATE_BY_ARRAYS, _arrays(changes, source, now)))
    connection = session.connection()
    return _rows(connection.execute(_UPDATE_BY_ROW, [_row(change, source, now) for change in changes]))


def _row(change: Change, source: DeliveryStatus, now: datetime) -> dict[str, object]:
    waits = change.status is DeliveryStatus.pending
    return {
        "b_id": change.id,
        "b_source": source,
        "b_status": change.status,
        "b_reason": change.reason,
        "b_reply": change.reply,
        "b_tried": int(change.tried),
        "b_not_before": change.not_before,
        "b_settled_at": None if waits else now,
    }


_UPDATE_BY_ROW = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("b_id"), _TABLE.c.status == bindparam("b_source"))
    .values(
        status=bindparam("b_status"),
        reason=bindparam("b_reason"),
        reply=func.coalesce(bindparam("b_reply"), _TABLE.c.reply),
        attempts=_TABLE.c.attempts + bindparam("b_tried"),
        not_before=bindparam("b_not_before"),
        settled_at=bindparam("b_settled_at"),
    )
)

_VALUES = (
    func.unnest(
        bindparam("ids", type_=ARRAY(BigInteger)),
        bindparam("statuses", type_=ARRAY(Text)),
        bindparam("reasons", type_=ARRAY(Text)),
        bindparam("replies", type_=ARRAY(Text)),
        bindparam("tried", type_=ARRAY(SmallInteger)),
        bindparam("not_befores", type_=ARRAY(UTCDateTime())),
    )
    .table_valued("id", "status", "reason", "reply", "tried", "not_before", name="changed")
    .render_derived()
)

_UPDATE_BY_ARRAYS = (
    update(_TABLE)
    .where(_TABLE.c.id == _VALUES.c.id, _TABLE.c.status == bindparam("source", type_=Words(DeliveryStatus)))
    .values(
        status=_VALUES.c.status,
        reason=_VALUES.c.reason,
        reply=func.coalesce(_VALUES.c.reply, _TABLE.c.reply),
        attempts=_TABLE.c.attempts + _VALUES.c.tried,
        not_before=_VALUES.c.not_before,
        settled_at=case((_VALUES.c.status != "pending", bindparam("moment", type_=UTCDateTime()))),
    )
)


# Mostly the letters of a window have all been taken, and only the server's words differ.
_WORDS = (
    func.unnest(bindparam("ids", type_=ARRAY(BigInteger)), bindparam("replies", type_=ARRAY(Text)))
    .table_valued("id", "reply", name="changed")
    .render_derived()
)

_UPDATE_ALIKE = (
    update(_TABLE)
    .where(_TABLE.c.id == _WORDS.c.id, _TABLE.c.status == bindparam("b_source"))
    .values(
        status=bindparam("b_status"),
        reason=bindparam("b_reason"),
        reply=func.coalesce(_WORDS.c.reply, _TABLE.c.reply),
        attempts=_TABLE.c.attempts + bindparam("b_tried"),
        not_before=bindparam("b_not_before"),
        settled_at=bindparam("b_settled_at"),
    )
)


def _alike(changes: Sequence[Change], source: DeliveryStatus, now: datetime) -> dict[str, object]:
    same = _row(changes[0], source, now)
    del same["b_id"], same["b_reply"]
    return {
        **same,
        "ids": [change.id for change in changes],
        "replies": [change.reply for change in changes],
    }


def _arrays(changes: Sequence[Change], source: DeliveryStatus, now: datetime) -> dict[str, object]:
    return {
        "ids": [change.id for change in changes],
        "statuses": [change.status.value for change in changes],
        "reasons": [change.reason and change.reason.value for change in changes],
        "replies": [change.reply for change in changes],
        "tried": [int(change.tried) for change in changes],
        "not_befores": [change.not_before for change in changes],
        "source": source,
        "moment": now,
    }


def _count(session: Session, batch_id: int, counts: Counter[str]) -> None:
    if any(counts.values()):
        more = {f"more_{state.value}": counts[state.value] for state in DeliveryStatus}
        session.execute(_ADD_TO_COUNTS, {"batch": batch_id, **more})


def _rows(result: Any) -> int:
    return int(result.rowcount)
