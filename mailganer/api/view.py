"""How a view of the API is declared: checked against the document, answered once per Idempotency-Key."""

import hashlib
from collections.abc import Callable
from typing import Any

from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config
from pyramid_retry import RetryableException
from sqlalchemy.exc import IntegrityError

from ..db import utcnow
from ..errors import InputError, _
from ..models import Answer

View = Callable[[Any, Request], Response]
CHUNK = 1 << 16


def api_view(route: str, method: str, *, checked: bool = True, **options: Any) -> view_config:
    """``view_config`` for the API. ``checked=False`` only where the body must not go through memory."""
    if method == "POST":
        options["decorator"] = answer_once
    # A bearer token is never sent by a browser on its own: there is nothing to forge.
    return view_config(
        route_name=route,
        request_method=method,
        renderer="api",
        openapi=checked,
        require_csrf=False,
        **options,
    )


def answer_once(view: View) -> View:
    """The same Idempotency-Key with the same request gives the same answer and is done once."""

    def answer(context: Any, request: Request) -> Response:
        key = request.headers.get("Idempotency-Key")
        if not key or request.account is None:
            return view(context, request)
        fingerprint = _fingerprint(request)
        known = request.dbsession.get(Answer, (request.account.id, key))
        if known is not None:
            return _again(known, fingerprint)
        response = view(context, request)
        if response.status_int < 300:
            _remember(request, key, fingerprint, response)
        return response

    return answer


def _again(known: Answer, fingerprint: bytes) -> Response:
    if known.fingerprint != fingerprint:
        raise InputError({"Idempotency-Key": _("This key was used for another request. Take a new one.")})
    if known.body is None:
        return Response(status=known.status)
    return Response(json_body=known.body, status=known.status)


def _remember(request: Request, key: str, fingerprint: bytes, response: Response) -> None:
    body = response.json_body if response.body else None
    answer = Answer(
        account_id=request.account.id,
        key=key,
        fingerprint=fingerprint,
        status=response.status_int,
        body=body,
        created_at=utcnow(),
    )
    try:
        request.dbsession.add(answer)
        request.dbsession.flush()
    except IntegrityError as error:
        # The same request, at the same moment, won: try again and give its answer.
        raise RetryableException from error


def _fingerprint(request: Request) -> bytes:
    digest = hashlib.sha256(f"{request.method} {request.path}\n".encode())
    request.make_body_seekable()
    body = request.body_file_raw
    while chunk := body.read(CHUNK):
        digest.update(chunk)
    body.seek(0)
    return digest.digest()
