"""Actions on an import: start, change the mapping or the encoding, apply, undo, discard."""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...errors import Conflict, NotFound, _
from ...models import Account, Import, ImportStatus, SubscriberList
from ..lists import forget_additions, unused_list
from .encodings import check_encoding
from .first_rows import FirstRows, column_values, read_first_rows
from .mapping import mapping_from_words
from .progress import restart
from .stored_mapping import ADDRESSES, ENCODING, UNREAD, mapping_of, stored_mapping
from .undo import undo_some
from .uploads import StoredFile, store

_UNDONE_AT_ONCE: Final = 2_000  # of a small file nothing is left when the page comes back


def start_import(
    session: Session,
    account: Account,
    lst: SubscriberList,
    *,
    filename: str,
    stream: BinaryIO,
    mapping: Mapping[str, Any] | None = None,
    apply: bool = True,
    made_list: bool = False,
    encoding: str = "",
    uploads: Path,
    now: datetime,
) -> Import:
    """Store a file and what its first rows show; ``run_import`` does the rest.

    With ``apply=False`` it stops at ``ready`` and counts what would change. ``made_list``: the list was made
    for this file, and appears when the file is imported. An empty ``encoding`` is guessed. Raises
    ``FileRefused`` for a file that is no list of subscribers, ``InputError`` for a wrong ``mapping`` or
    ``encoding``, ``NoRoom``; nothing is kept then.
    """
    if lst.account_id != account.id:
        raise NotFound()
    named = check_encoding(encoding) if encoding.strip() else ""
    stored = store(stream, uploads, named)
    try:
        first_rows = read_first_rows(stored, mapping or {})
        made = _made(account, lst, filename, stored, first_rows, apply, now)
        made.made_list = made_list
        session.add(made)
        session.flush()
    except BaseException:
        stored.path.unlink(missing_ok=True)
        raise
    return made


def latest_imports(session: Session, account_id: int, limit: int = 10) -> Sequence[Import]:
    """Return an account's imports, newest first."""
    return session.scalars(
        select(Import).where(Import.account_id == account_id).order_by(Import.id.desc()).limit(limit)
    ).all()


def set_mapping(session: Session, job: Import, mapping: Mapping[Any, Any]) -> Import:
    """Change the mapping; the file is then read again. Keys and values are as in ``start_import``.

    Raise ``InputError``, or ``Conflict`` when it is too late.
    """
    _lock(session, job)
    if job.status is not ImportStatus.ready:
        raise Conflict(_("Columns can be changed only before the subscribers are imported."))
    fields = mapping_from_words(mapping, job.columns, mapping_of(job.mapping, len(job.columns)))
    stored = stored_mapping(fields, addresses=job.mapping.get(ADDRESSES, ()))
    stored |= {key: value for key, value in job.mapping.items() if key == ENCODING}
    # What is left as it was is still not understood.
    same = [each for each in job.mapping.get(UNREAD, ()) if fields[each] == job.mapping.get(str(each))]
    stored |= {UNREAD: same} if same else {}
    if stored != job.mapping:
        job.mapping = stored
        restart(session, job, ImportStatus.reading)
    session.flush()
    return job


def set_encoding(session: Session, job: Import, encoding: str, uploads: Path) -> Import:
    """Set the encoding of a file, which is then read once more.

    Raise ``InputError``, ``FileRefused``, or ``Conflict`` when it is too late.
    """
    stored = StoredFile(uploads / job.path, job.size, check_encoding(encoding), explicit=True)
    if job.status is ImportStatus.ready:
        first_rows = read_first_rows(stored, {})
        _lock(session, job)
    if job.status is not ImportStatus.ready:
        raise Conflict(_("The encoding can be changed only before the subscribers are imported."))
    for name, value in column_values(stored, first_rows).items():
        setattr(job, name, value)
    restart(session, job, ImportStatus.reading)
    session.flush()
    return job


def apply_import(session: Session, job: Import) -> Import:
    """Apply an import. Raise ``Conflict`` when it was applied already or cannot be."""
    _lock(session, job)
    if job.status is ImportStatus.ready:
        restart(session, job, ImportStatus.applying)
    elif job.status is not ImportStatus.reading:
        raise Conflict(
            _(
                "This file has already been imported or could not be read. To repeat the import, "
                "upload the file again."
            )
        )
    job.apply = True
    session.flush()
    return job


def undo_import(session: Session, job: Import, now: datetime) -> Import:
    """Undo an import, also while it is being applied. A large one is undone gradually.

    Raise ``Conflict`` when there is nothing to undo.
    """
    _lock(session, job)
    if job.status is ImportStatus.undone:
        return job
    if job.status not in (ImportStatus.applying, ImportStatus.done):
        raise Conflict(_("Nothing was imported from this file, so there is nothing to undo."))
    if job.finished_at is None:
        job.finished_at = now
    job.status = ImportStatus.undone
    job.epoch += 1  # the worker stops at its next piece
    job.lease_until = None
    session.flush()
    undo_some(session, job, now, _UNDONE_AT_ONCE)
    return job


def discard_import(session: Session, job: Import, uploads: Path) -> None:
    """Delete an import that was not applied, and a list that was created for it.

    Raise ``Conflict`` when it was applied.
    """
    _lock(session, job)
    if job.status in (ImportStatus.applying, ImportStatus.done):
        raise Conflict(_("Subscribers from this file have been imported. Undo the import to remove them."))
    made_for_it = unused_list(session, job.list_id)
    forget_additions(session, Import.id == job.id)
    session.delete(job)
    session.flush()
    if made_for_it is not None:
        session.delete(made_for_it)
        session.flush()
    (uploads / job.path).unlink(missing_ok=True)


def _made(
    account: Account,
    lst: SubscriberList,
    filename: str,
    stored: StoredFile,
    first_rows: FirstRows,
    apply: bool,
    now: datetime,
) -> Import:
    values = column_values(stored, first_rows)
    return Import(
        account_id=account.id,
        list_id=lst.id,
        filename=_shown_name(filename),
        path=stored.path.name,
        size=stored.size,
        apply=apply,
        position=values["start"],
        record=values["first_record"],
        created_at=now,
        **values,
    )


def _shown_name(filename: str) -> str:
    """Return the file name for display: without folders and control characters."""
    name = PurePosixPath(filename.replace("\\", "/")).name
    return "".join(each for each in name if unicodedata.category(each)[0] != "C")[:255] or "people.csv"


def _lock(session: Session, job: Import) -> None:
    session.flush()
    session.refresh(job, with_for_update={"key_share": True})
