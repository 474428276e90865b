"""CSV exports of subscribers and rejected rows, safe against formula injection in spreadsheets."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.orm import Session, sessionmaker

from ..errors import _
from ..models import Import, ImportReject, Subscriber, SubscriberList, SubscriberStatus, list_member
from .birthdays import YEARLESS
from .csv_cells import safe_cell
from .fields import STANDARD, field_text, known_fields
from .imports.reasons import reject_sentence
from .subscriber_search import conditions_for

Translate = Callable[[str], str]

BOM: Final = "\ufeff".encode()  # without it Excel reads Cyrillic as cp1251
_AT_ONCE: Final = 1_000
_EXPORTED: Final = (
    Subscriber.id,
    Subscriber.email,
    Subscriber.first_name,
    Subscriber.last_name,
    Subscriber.birthday,
    Subscriber.status,
    Subscriber.fields,
)


def csv_bytes(rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Encode rows as CSV in UTF-8 with a byte order mark, in chunks. Every cell is quoted and made safe."""
    yield BOM
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    for number, row in enumerate(rows, start=1):
        writer.writerow([safe_cell(cell) for cell in row])
        if number % 200 == 0:
            yield _drain(buffer)
    yield _drain(buffer)


def subscribers_csv(
    sessions: sessionmaker[Session],
    account_id: int,
    *,
    query: str = "",
    status: SubscriberStatus | None = None,
    list_id: int | None = None,
) -> Iterator[bytes]:
    """Yield the subscribers that match a search as CSV. Reads a thousand rows per session, to save memory."""
    with sessions() as session:
        own = [field.name for field in known_fields(session, account_id) if field.name not in STANDARD]
    heading = [*STANDARD, "status", "lists", *own]

    def rows() -> Iterator[Sequence[str]]:
        yield heading
        after: int | None = None
        while True:
            with sessions() as session:
                subscribers = session.execute(
                    select(*_EXPORTED)
                    .where(*conditions_for(account_id, query, status, list_id, after))
                    .order_by(Subscriber.id.desc())
                    .limit(_AT_ONCE)
                ).all()
                lists = _list_names(session, [subscriber.id for subscriber in subscribers])
            for subscriber in subscribers:
                yield _subscriber_row(subscriber, lists.get(subscriber.id, ""), own)
            if len(subscribers) < _AT_ONCE:
                return
            after = subscribers[-1].id

    return csv_bytes(rows())


def rejects_csv(sessions: sessionmaker[Session], job: Import, translate: Translate) -> Iterator[bytes]:
    """Yield the rejected rows of a file as CSV: number, reason, then the original cells."""
    import_id, columns = job.id, list(job.columns)

    def rows() -> Iterator[Sequence[str]]:
        yield [
            translate(_("Row")),
            translate(_("Why it was skipped")),
            # The same names as the columns of a file without headings get: a corrected file imports in the
            # same way.
            *(column or f"column {number}" for number, column in enumerate(columns, 1)),
        ]
        after = 0
        while True:
            with sessions() as session:
                rejects = session.scalars(
                    select(ImportReject)
                    .where(ImportReject.import_id == import_id, ImportReject.row > after)
                    .order_by(ImportReject.row)
                    .limit(_AT_ONCE)
                ).all()
            for reject in rejects:
                yield [str(reject.row), translate(reject_sentence(reject.code, reject.detail)), *reject.cells]
            if len(rejects) < _AT_ONCE:
                return
            after = rejects[-1].row

    return csv_bytes(rows())


def birthday_text(subscriber: Subscriber | Row[Any]) -> str:
    """Format a birthday as 1990-05-14, or 14.05. without a year. An import can parse both."""
    if subscriber.birthday is None:
        return ""
    return (
        subscriber.birthday.strftime("%d.%m")
        if subscriber.birthday.year == YEARLESS
        else subscriber.birthday.isoformat()
    )


def _subscriber_row(subscriber: Row[Any], lists: str, own: Sequence[str]) -> Sequence[str]:
    standard = [subscriber.email, subscriber.first_name, subscriber.last_name, birthday_text(subscriber)]
    return [
        *standard,
        subscriber.status.value,
        lists,
        *(field_text(subscriber.fields.get(name)) for name in own),
    ]


def _list_names(session: Session, subscriber_ids: Sequence[int]) -> dict[int, str]:
    rows = session.execute(
        select(list_member.c.subscriber_id, SubscriberList.name)
        .join(SubscriberList, SubscriberList.id == list_member.c.list_id)
        .where(list_member.c.subscriber_id.in_(subscriber_ids))
        .order_by(SubscriberList.name)
    )
    names: dict[int, list[str]] = {}
    for subscriber_id, name in rows:
        names.setdefault(subscriber_id, []).append(name)
    return {subscriber_id: "; ".join(each) for subscriber_id, each in names.items()}


def _drain(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()
