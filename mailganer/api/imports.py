"""Imports of CSV files into a list."""

from typing import Any

from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy.exc import IntegrityError

from .. import audience as verbs
from .. import web
from ..db import utcnow
from ..errors import InputError, NotFound, _
from ..sending import enqueue_after_commit
from .request_parsing import form_of, is_yes, read_json, text_of
from .serializers import Shape, import_shape
from .view import api_view


# The body is not validated: that would read a file of a million rows into memory.
@api_view("api.imports", "POST", checked=False)
def start_import(request: Request) -> Shape:
    web.end_transaction(request)  # storing a file takes time: hold no transaction
    form = form_of(request)
    upload = form.get("file")
    if not hasattr(upload, "file"):
        raise InputError({"file": _("Send the CSV file as the multipart field “file”.")})
    try:
        import_ = verbs.start_import(
            request.dbsession,
            request.context.account,
            request.context.list,
            filename=upload.filename,
            stream=upload.file,
            mapping=_mapping(form.get("mapping", "")),
            encoding=str(text_of(form.get("encoding", ""))),
            apply=is_yes(form.get("apply", "true"), "apply"),
            uploads=request.registry["settings"].uploads,
            now=utcnow(),
        )
    except IntegrityError as error:
        raise NotFound from error  # the list was deleted in the meantime
    request.response.status = 202
    return _enqueued(request, import_)


@api_view("api.import", "GET")
def one_import(request: Request) -> Shape:
    return import_shape(request.context.import_, request.account)


# Not validated: the response is streamed, and validation would load all rows.
@api_view("api.import.rejects", "GET", checked=False)
def rejects(request: Request) -> Response:
    # The rows are sent after the request's session is closed, so take the translator now.
    translate = request.localizer.translate
    rows = verbs.rejects_csv(request.registry["readers"], request.context.import_, translate)
    return Response(app_iter=rows, content_type="text/csv", charset="utf-8")


@api_view("api.import.apply", "POST")
def apply_import(request: Request) -> Shape:
    body = request.openapi_validated.body or {}
    if "mapping" in body:
        verbs.set_mapping(request.dbsession, request.context.import_, body["mapping"])
    verbs.apply_import(request.dbsession, request.context.import_)
    return _enqueued(request, request.context.import_)


@api_view("api.import.undo", "POST")
def undo_import(request: Request) -> Shape:
    return _enqueued(request, verbs.undo_import(request.dbsession, request.context.import_, utcnow()))


def _enqueued(request: Request, import_: Any) -> Shape:
    enqueue_after_commit(request, "import", import_.id)
    return import_shape(import_, request.account)


def _mapping(part: Any) -> dict[str, str] | None:
    text = text_of(part)
    if not text.strip():
        return None
    mapping = read_json(text, "mapping")
    if not isinstance(mapping, dict) or not all(isinstance(value, str) for value in mapping.values()):
        raise InputError({"mapping": _("The mapping must be a JSON object of column headings and fields.")})
    return mapping
