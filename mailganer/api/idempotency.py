"""Idempotency keys: a POST that is repeated returns the stored response of the first."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import structlog
from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import delete, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..db import upsert, utcnow
from ..errors import Conflict, InputError, _
from ..models import IdempotentResponse
from .request_parsing import View, form_of

CHUNK = 1 << 16
LONGEST_KEY = 200  # the width of the column
UNANSWERED = 0  # status of a response that is not available yet

log = structlog.get_logger()


def answer_once(view: View) -> View:
    """Run a request once per Idempotency-Key; repeating the same request returns the stored response."""

    def answer(context: Any, request: Request) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(context, request)
        if not 0 < len(key) <= LONGEST_KEY:
            raise InputError({"Idempotency-Key": _("The key must have 1 to 200 characters.")})
        claim = _Claim(request, context.account.id, key, _fingerprint(request))
        known = claim.known()
        return _stored_response(known, claim.fingerprint) if known else claim.answered(view, context)

    return answer


class _Known(Exception):
    """Another request with this key has finished already: its response is returned."""

    def __init__(self, answer: IdempotentResponse) -> None:
        self.answer = answer


class _Claim:
    """Claim of an idempotency key, stored before the request is handled, so that concurrent requests find it.

    A view that makes an external call before it changes anything (``db.without_transaction``) loses the claim
    and takes it again in its last transaction: a process killed in between leaves nothing behind.

    Usually claim and response are written in one transaction, and a second request waits for the first. A
    view that calls a mail server ends the transaction before the call
    (``account_verification.end_transaction``): then the claim is visible to others, and has to be withdrawn
    if the request fails.
    """

    def __init__(self, request: Request, account_id: int, key: str, fingerprint: bytes) -> None:
        self.request, self.account_id, self.key, self.fingerprint = request, account_id, key, fingerprint
        self.transaction = request.tm.get()
        self.here = (IdempotentResponse.account_id == account_id, IdempotentResponse.key == key)

    def known(self) -> IdempotentResponse | None:
        """Take the claim. Return None if it is ours now, else the row of the other request."""
        session: Session = self.request.dbsession
        row = upsert(session, IdempotentResponse).values(
            account_id=self.account_id,
            key=self.key,
            fingerprint=self.fingerprint,
            status=UNANSWERED,
            body=None,
            created_at=utcnow(),
        )
        taken = session.execute(row.on_conflict_do_nothing().returning(IdempotentResponse.status)).first()
        if taken:
            return None
        # The other request may have withdrawn it in the meantime.
        return session.get(IdempotentResponse, (self.account_id, self.key)) or self.known()

    def again(self) -> None:
        """Take the claim in a new transaction. Raise ``_Known`` when another request has it now."""
        self.transaction = self.request.tm.get()
        known = self.known()
        if known:
            raise _Known(known)
        self.request.dbsession.info["wrote"] = False

    def answered(self, view: View, context: Any) -> Response:
        info = self.request.dbsession.info
        info["wrote"], info["again"] = False, [self.again]
        try:
            response = view(context, self.request)
        except _Known as known:
            return _stored_response(known.answer, self.fingerprint)
        except BaseException:
            self._withdraw()
            raise
        finally:
            del info["again"]
        if response.status_int < 300:
            body = response.json_body if response.body else None
            kept = update(IdempotentResponse).where(*self.here).values(status=response.status_int, body=body)
            self.request.dbsession.execute(kept, execution_options={"synchronize_session": False})
        else:
            self._withdraw()
        return response

    def _withdraw(self) -> None:
        tm = self.request.tm
        if tm.get() is self.transaction:
            return  # rolled back with the transaction
        try:
            tm.abort()
            tm.begin()
            self.request.dbsession.execute(delete(IdempotentResponse).where(*self.here))
            tm.commit()
        except SQLAlchemyError as error:  # later requests with the key get the conflict
            log.warning("api.claim_stays", account=self.account_id, trouble=type(error).__name__)
            tm.abort()
        tm.begin()


def _stored_response(known: IdempotentResponse, fingerprint: bytes) -> Response:
    if known.fingerprint != fingerprint:
        raise InputError(
            {"Idempotency-Key": _("This key was already used for another request. Use a new key.")}
        )
    if known.status == UNANSWERED:
        raise Conflict(
            _(
                "The first request with this key is still running or was interrupted. Try again in a "
                "minute. If this persists, check the result of the first request and use a new key."
            )
        )
    if known.body is None:
        return Response(status=known.status)
    return Response(json_body=known.body, status=known.status)


def _fingerprint(request: Request) -> bytes:
    digest = hashlib.sha256(f"{request.method} {request.path}\n".encode())
    form = request.content_type == "multipart/form-data"
    for piece in _parts(request) if form else _pieces(request.body_file_seekable):
        digest.update(piece)
    return digest.digest()


def _parts(request: Request) -> Iterator[bytes]:
    """Yield the content of a form without its boundary, which differs each time it is sent."""
    for name, part in form_of(request).items():
        filename, content = None, hashlib.sha256()
        if hasattr(part, "file"):
            filename = part.filename
            for piece in _pieces(part.file):
                content.update(piece)
        else:
            content.update(part.encode(errors="surrogatepass"))
        yield json.dumps([name, filename, content.hexdigest()]).encode()


def _pieces(file: Any) -> Iterator[bytes]:
    """Yield a file from its beginning, and rewind it."""
    file.seek(0)
    while piece := file.read(CHUNK):
        yield piece
    file.seek(0)
