"""SQL statements of the ledger, built once: building one costs several times as much as running it."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    SmallInteger,
    Table,
    Text,
    Update,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from ..models import Batch, Delivery, DeliveryStatus, Reason, Subscriber, Window
from ..models.meta import EnumText, UTCDateTime, keep_sentence


class DeliveryChange(NamedTuple):
    """The new status of one delivery, and what goes with it."""

    id: int
    status: DeliveryStatus
    reason: Reason | None = None
    reply: str | None = None
    tried: bool = False  # counts as an attempt
    not_before: datetime | None = None


_TABLE = cast(Table, Delivery.__table__)
_SUBSCRIBERS = cast(Table, Subscriber.__table__)
_BATCHES = cast(Table, Batch.__table__)
_WINDOWS = cast(Table, Window.__table__)

_NOW = bindparam("now", type_=UTCDateTime())
_WAITING = (
    _TABLE.c.id.between(bindparam("first"), bindparam("last")),
    _TABLE.c.status == DeliveryStatus.pending,
    or_(_TABLE.c.not_before.is_(None), _TABLE.c.not_before <= _NOW),
)

UNTRIED = _TABLE.c.reply.is_(None)
"""No server has answered about this recipient yet."""


def _recipients(*conditions: ColumnElement[bool]) -> Select[Any]:
    return (
        select(
            _TABLE.c.id,
            _TABLE.c.subscriber_id,
            _TABLE.c.email.label("address"),
            _TABLE.c.token,
            _TABLE.c.dated_at,
            _TABLE.c.attempts,
            _TABLE.c.first_tried_at,
            _SUBSCRIBERS.c.status,
            _SUBSCRIBERS.c.email,
            _SUBSCRIBERS.c.first_name,
            _SUBSCRIBERS.c.last_name,
            _SUBSCRIBERS.c.birthday,
            _SUBSCRIBERS.c.fields,
            _TABLE.c.returned_at,
        )
        .select_from(_TABLE.outerjoin(_SUBSCRIBERS, _SUBSCRIBERS.c.id == _TABLE.c.subscriber_id))
        .where(*_WAITING, *conditions)
        .order_by(_TABLE.c.id)
        .limit(bindparam("size"))
    )


def _mark(*conditions: ColumnElement[bool]) -> Update:
    return (
        update(_TABLE)
        .where(*_WAITING, *conditions)
        .values(
            status=DeliveryStatus.sending,
            sender_id=bindparam("sender"),
            frozen_email_id=bindparam("frozen_email"),
            first_tried_at=func.coalesce(_TABLE.c.first_tried_at, _NOW),
            not_before=None,
        )
    )


RECIPIENTS, UNTRIED_RECIPIENTS = _recipients(), _recipients(UNTRIED)
MARK, MARK_UNTRIED = _mark(), _mark(UNTRIED)

LONGEST_DEFERRED = (
    select(_TABLE.c.id)
    .where(*_WAITING)
    .order_by(_TABLE.c.not_before.is_not(None), _TABLE.c.not_before, _TABLE.c.id.desc())
    .limit(1)
)
"""The recipient deferred longest ago; of several the highest id, as lower ids have been first before."""

HOLD = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch"), _BATCHES.c.epoch == bindparam("our_epoch"))
    .values(lease_until=bindparam("until"))
)

NEW_WINDOW = insert(_WINDOWS)

_FORGET_WINDOW = sql_delete(_WINDOWS).where(_WINDOWS.c.id == bindparam("window"))

_ADD_TO_COUNTS = (
    update(_BATCHES)
    .where(_BATCHES.c.id == bindparam("batch"))
    .values(
        {state.value: _BATCHES.c[state.value] + bindparam(f"more_{state.value}") for state in DeliveryStatus}
    )
)


def forget(session: Session, window_id: int) -> bool:
    """Delete a window; return whether it existed."""
    return affected(session.execute(_FORGET_WINDOW, {"window": window_id})) == 1


def apply(session: Session, changes: Sequence[DeliveryChange], source: DeliveryStatus, now: datetime) -> int:
    """Apply changes to deliveries whose status is ``source``; return how many were changed."""
    if not changes:
        return 0
    if session.get_bind().dialect.name == "postgresql":
        if len({change[1:3] + change[4:] for change in changes}) == 1:
            return affected(session.execute(_UPDATE_ALIKE, _alike(changes, source, now)))
        return affected(session.execute(_UPDATE_BY_ARRAYS, _arrays(changes, source, now)))
    connection = session.connection()
    return affected(connection.execute(_UPDATE_BY_ROW, [_row(change, source, now) for change in changes]))


def _row(change: DeliveryChange, source: DeliveryStatus, now: datetime) -> dict[str, object]:
    waits = change.status is DeliveryStatus.pending
    return {
        "b_id": change.id,
        "b_source": source,
        "b_status": change.status,
        "b_reason": change.reason,
        "b_reply": keep_sentence(change.reply),
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
    .where(
        _TABLE.c.id == _VALUES.c.id, _TABLE.c.status == bindparam("source", type_=EnumText(DeliveryStatus))
    )
    .values(
        status=_VALUES.c.status,
        reason=_VALUES.c.reason,
        reply=func.coalesce(_VALUES.c.reply, _TABLE.c.reply),
        attempts=_TABLE.c.attempts + _VALUES.c.tried,
        not_before=_VALUES.c.not_before,
        settled_at=case((_VALUES.c.status != "pending", bindparam("moment", type_=UTCDateTime()))),
    )
)


# In most windows every email is accepted and only the server's replies differ.
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


def _alike(changes: Sequence[DeliveryChange], source: DeliveryStatus, now: datetime) -> dict[str, object]:
    same = _row(changes[0], source, now)
    del same["b_id"], same["b_reply"]
    return {
        **same,
        "ids": [change.id for change in changes],
        "replies": [keep_sentence(change.reply) for change in changes],
    }


def _arrays(changes: Sequence[DeliveryChange], source: DeliveryStatus, now: datetime) -> dict[str, object]:
    return {
        "ids": [change.id for change in changes],
        "statuses": [change.status.value for change in changes],
        "reasons": [change.reason and change.reason.value for change in changes],
        "replies": [keep_sentence(change.reply) for change in changes],
        "tried": [int(change.tried) for change in changes],
        "not_befores": [change.not_before for change in changes],
        "source": source,
        "moment": now,
    }


def count(session: Session, batch_id: int, counts: Counter[str]) -> None:
    if any(counts.values()):
        more = {f"more_{state.value}": counts[state.value] for state in DeliveryStatus}
        session.execute(_ADD_TO_COUNTS, {"batch": batch_id, **more})


def affected(result: Any) -> int:
    return int(result.rowcount)
