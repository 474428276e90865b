"""Import pages: upload a file, preview the changes, apply, undo."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import select

from mailganer import audience
from mailganer.audience.headings import FULL_NAME, LAST_NAME_FIRST
from mailganer.audience.imports.encodings import NAMES
from mailganer.audience.imports.mapping import BIRTHDAY_PARTS, BIRTHDAYS
from mailganer.audience.imports.statuses import STATUS
from mailganer.audience.imports.stored_mapping import is_guessed
from mailganer.db import utcnow
from mailganer.errors import FileRefused, InputError, MailganerError, NoRoom, _
from mailganer.i18n.sentences import sentence_of
from mailganer.models import (
    Import,
    ImportReject,
    ImportStatus,
    SubscriberList,
    owned,
)
from mailganer.sending import enqueue_after_commit

from ..web.decorators import view_config
from ..web.error_status import status_of
from .forms import number_of
from .subscribers import csv_response

REJECTS_SHOWN = 50
NOTES_SHOWN = 50
NEW_LIST = "new"
MOVING = frozenset({ImportStatus.reading, ImportStatus.applying})

FIELD_WORDS = {
    "": _("Do not import"),
    "email": _("Email address"),
    "first_name": _("First name"),
    "last_name": _("Last name"),
    FULL_NAME: _("Full name: first, last"),
    LAST_NAME_FIRST: _("Full name: last, first"),
    "birthday": _("Birthday"),
    "birthday_day_first": _("Birthday: day/month"),
    "birthday_month_first": _("Birthday: month/day"),
    "birthday_year": _("Birthday: year"),
    "birthday_month": _("Birthday: month"),
    "birthday_day": _("Birthday: day"),
    STATUS: _("Subscription status"),
}


@dataclass(frozen=True)
class ShownReject:
    """A rejected row."""

    row: int
    reason: str
    cells: Sequence[str]


@dataclass(frozen=True)
class ShownNote:
    """A row imported with a change."""

    row: int
    sentence: str


@view_config(route_name="subscribers.import", request_method="GET", renderer="imports/new.jinja2")
def ask(request: Request) -> dict[str, Any]:
    return _ask_page(request)


@view_config(route_name="subscribers.import", request_method="POST", renderer="imports/new.jinja2")
def upload(request: Request) -> Any:
    file = request.POST.get("file")
    if not hasattr(file, "file"):
        return _ask_page(request, InputError({"file": _("Choose a file.")}))
    session, account, now = request.dbsession, request.context.account, utcnow()
    try:
        # A list created for a rejected file is rolled back with it.
        with file.file as stream, session.begin_nested():
            job = audience.start_import(
                session,
                account,
                _chosen_list(request, now),
                filename=file.filename,
                stream=stream,
                apply=False,
                made_list=_asks_for_new_list(request),
                uploads=request.registry["settings"].uploads,
                now=now,
            )
    except (FileRefused, InputError, NoRoom) as error:
        return _ask_page(request, error)
    enqueue_after_commit(request, "import", job.id)
    return HTTPSeeOther(request.route_path("import", id=job.id))


@view_config(route_name="import", renderer="imports/one.jinja2")
@view_config(route_name="import.progress", renderer="imports/one.jinja2")
def show(request: Request) -> dict[str, Any]:
    return _page(request)


@view_config(route_name="import.columns", request_method="POST", renderer="imports/one.jinja2")
def columns(request: Request) -> Any:
    """Save the mapping of columns; the file is then read again."""
    job = request.context.import_
    try:
        audience.set_mapping(request.dbsession, job, _mapping(request))
    except InputError as error:
        request.response.status_int = 422
        return _page(request, error)
    enqueue_after_commit(request, "import", job.id)
    return HTTPSeeOther(request.route_path("import", id=job.id))


@view_config(route_name="import.encoding", request_method="POST", renderer="imports/one.jinja2")
def encoding(request: Request) -> Any:
    """Choose the encoding of the file, which is read once more."""
    job, uploads = request.context.import_, request.registry["settings"].uploads
    try:
        audience.set_encoding(request.dbsession, job, request.POST.get("encoding", ""), uploads)
    except (FileRefused, InputError) as error:
        request.response.status_int = 422
        return _page(request, encoding_error=error)
    enqueue_after_commit(request, "import", job.id)
    return HTTPSeeOther(request.route_path("import", id=job.id))


@view_config(route_name="import.apply", request_method="POST")
def apply_import(request: Request) -> Response:
    job = request.context.import_
    if is_guessed(job.mapping):  # asked on the page
        return HTTPSeeOther(request.route_path("import", id=job.id))
    audience.apply_import(request.dbsession, job)
    enqueue_after_commit(request, "import", job.id)
    return HTTPSeeOther(request.route_path("import", id=job.id))


@view_config(route_name="import.undo", request_method="POST")
def undo(request: Request) -> Response:
    job = request.context.import_
    audience.undo_import(request.dbsession, job, utcnow())
    enqueue_after_commit(request, "import", job.id)
    return HTTPSeeOther(request.route_path("import", id=job.id))


@view_config(route_name="import.discard", request_method="POST")
def discard(request: Request) -> Response:
    audience.discard_import(request.dbsession, request.context.import_, request.registry["settings"].uploads)
    request.flash(_("File discarded. Nothing was imported."))
    return HTTPSeeOther(request.route_path("subscribers"))


@view_config(route_name="import.rejects")
def rejects(request: Request) -> Response:
    job = request.context.import_
    # The rows are sent after the request's session is closed, so take the translator now.
    content = audience.rejects_csv(request.registry["readers"], job, request.localizer.translate)
    return csv_response(content, f"rejected-{job.id}.csv")


def _asks_for_new_list(request: Request) -> bool:
    chosen: str = request.POST.get("list", NEW_LIST)
    return chosen == NEW_LIST


def _chosen_list(request: Request, now: datetime) -> SubscriberList:
    """Return a list of the account, or a new one, which is hidden until its import is applied."""
    session, account_id = request.dbsession, request.context.account.id
    if not _asks_for_new_list(request):
        return owned(session, SubscriberList, account_id, number_of(request.POST["list"]) or 0)
    name = request.POST.get("name", "")
    try:
        return audience.create_list(session, account_id, name=name, now=now)
    except InputError as error:
        raise InputError({"name": error.fields["name"]}) from error


def _ask_page(request: Request, error: MailganerError | None = None) -> dict[str, Any]:
    if error:
        request.response.status_int = status_of(error)
    account = request.context.account
    chosen = request.params.get("list", "")
    problems: dict[str, str] = {"file": "", "name": ""}
    if error:
        problems |= error.fields if isinstance(error, InputError) else {"file": error.message}
    if problems["name"]:  # a browser does not keep the file
        problems["file"] = problems["file"] or _("Choose the file again.")
    lists = audience.lists_of(request.dbsession, account.id)
    known = audience.lists_of(request.dbsession, account.id, hidden=True)
    return {
        "lists": lists,
        "list_names": defaultdict(str, {each.id: each.name for each in known}),
        "chosen": chosen,
        "name": request.POST.get("name", request.translate(_("Subscribers"))),
        "problems": problems,
        "recent": audience.latest_imports(request.dbsession, account.id, 5),
    }


def _mapping(request: Request) -> dict[int, str]:
    """Parse the mapping: ``column.3`` is the field of column 3."""
    return {
        int(key.removeprefix("column.")): value
        for key, value in request.POST.items()
        if key.startswith("column.") and key.removeprefix("column.").isdecimal()
    }


def _page(
    request: Request, error: InputError | None = None, encoding_error: MailganerError | None = None
) -> dict[str, Any]:
    session, job = request.dbsession, request.context.import_
    preview = audience.import_preview(job, request.registry["settings"].uploads)
    return {
        "job": job,
        "list": session.get(SubscriberList, job.list_id),
        "preview": preview,
        "options": [_options(column) for column in preview.columns],
        "error": error,
        "encoding_error": sentence_of(encoding_error) if encoding_error else "",
        "encodings": NAMES,
        "guessed": is_guessed(job.mapping),
        "samples": audience.encoding_samples(job, request.registry["settings"].uploads),
        "failure": audience.failure_sentence(job.error) if job.error else None,
        "moving": job.status in MOVING,
        "share": min(100, 100 * job.position // max(1, job.size)),
        "rejects": _first_rejects(session, job),
        "notes": _first_notes(job),
        "noted_count": sum(job.notes.get("counts", {}).values()),
        "left": job.notes.get("left", 0),
        "left_by": ", ".join(_heading(each) for each in preview.columns if each.field == STATUS),
        "unclear": "birthday_unclear" in job.notes.get("counts", {}),
        "silent": max(0, audience.count_without_emails(session, job) - job.notes.get("left", 0))
        if job.status is ImportStatus.done
        else 0,
        "undoing": job.status is ImportStatus.undone and audience.is_being_undone(session, job),
    }


def _heading(column: audience.Column) -> str:
    return column.name or str(column.number + 1)


def _options(column: audience.Column) -> list[tuple[str, str]]:
    """Return the choices for a column: standard fields, a variable, or nothing."""
    words = {field: word for field, word in FIELD_WORDS.items() if field}
    own = column.field if column.field and column.field not in words else _own_name(column)
    shown = [
        (field, word)
        for field, word in words.items()
        if field not in (*BIRTHDAYS, *BIRTHDAY_PARTS) or _dates(column, field)
    ]
    return [*shown, (own, _("Field “${name}”", mapping={"name": own})), ("", FIELD_WORDS[""])]


def _own_name(column: audience.Column) -> str:
    return audience.slug(column.name or f"column {column.number + 1}")


def _dates(column: audience.Column, field: str) -> bool:
    """Offer the orders of day and month where they make a difference, and parts where they were found."""
    if field in BIRTHDAY_PARTS:
        return column.field in BIRTHDAY_PARTS
    return field in ("birthday", column.field) or any("/" in cell or "-" in cell for cell in column.cells)


def _first_rejects(session: Any, job: Import) -> list[ShownReject]:
    rows = session.scalars(
        select(ImportReject)
        .where(ImportReject.import_id == job.id)
        .order_by(ImportReject.row)
        .limit(REJECTS_SHOWN)
    )
    return [ShownReject(row.row, audience.reject_sentence(row.code, row.detail), row.cells) for row in rows]


def _first_notes(job: Import) -> list[ShownNote]:
    rows = job.notes.get("rows", [])[:NOTES_SHOWN]
    return [ShownNote(row, audience.note_sentence(code, detail)) for row, code, detail in rows]
