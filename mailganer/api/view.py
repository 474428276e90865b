"""How a view of the API is declared: checked against the document, answered once per Idempotency-Key."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import structlog
from pyramid.request import Request
from pyramid.response import Response
from pyramid.view import view_config
from sqlalchemy import delete, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from .. import web
from ..db import upsert, utcnow
from ..errors import Conflict, InputError, _
from ..models import IdempotentResponse
from .request_parsing import View, form_of, only_json, only_known_parameters, without_blanks

CHUNK = 1 << 16
LONGEST_KEY = 200  # the column's width
UNANSWERED = 0  # the status of an answer that is not there yet

log = structlog.get_logger()


def api_view(
    route: str, method: str, *, checked: bool = True, once: bool = True, **options: Any
) -> view_config:
    """``view_config`` for the API. ``checked=False`` only where the body must not go through memory,
    ``once=False`` only where the answer must not be kept."""
    first = [only_known_parameters]
    decorators = [*first, without_blanks, only_json] if checked else [*first, in_its_own_time]
    if method == "POST" and once:
        decorators.append(answer_once)
    # A bearer token is never sent by a browser on its own: there is nothing to forge.
    return view_config(
        route_name=route,
        request_method=method,
        renderer="api",
        openapi=checked,
        require_csrf=False,
        decorator=tuple(decorators),
        **options,
    )


def in_its_own_time(view: View) -> View:
    """A body of any size is read while no transaction is open: on SQLite everybody who writes would wait."""

    def answer(context: Any, request: Request) -> Response:
        if request.method == "POST":
            web.release(request)
            form_of(request)
        return view(context, request)

    return answer


def answer_once(view: View) -> View:
    """The same Idempotency-Key with the same request gives the same answer and is done once."""

    def answer(context: Any, request: Request) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(context, request)
        if not 0 < len(key) <= LONGEST_KEY:
            raise InputError({"Idempotency-Key": _("A key has 1 to 200 characters.")})
        claim = _Claim(request, context.account.id, key, _fingerprint(request))
        known = claim.known()
        return _again(known, claim.fingerprint) if known else claim.answered(view, context)

    return answer


class _Known(Exception):
    """Another request with this key has finished already: its response is returned."""

    def __init__(self, answer: IdempotentResponse) -> None:
        self.answer = answer


class _Claim:
    """The place of an answer, taken before the request is looked at: who asks the same meanwhile finds it.

    A view that has something foreign done before it changes anything (``db.outside``) loses the place and
    takes it again in its last transaction: a process killed meanwhile leaves nothing behind.

    Mostly both stand in one transaction, and the second waits for the first. A view that talks with a mail
    server ends the transaction before it does (``security.release``): then the claim can be seen, and has to
    be taken back should nothing come of it.
    """

    def __init__(self, request: Request, account_id: int, key: str, fingerprint: bytes) -> None:
        self.request, self.account_id, self.key, self.fingerprint = request, account_id, key, fingerprint
        self.transaction = request.tm.get()
        self.here = (IdempotentResponse.account_id == account_id, IdempotentResponse.key == key)

    def known(self) -> IdempotentResponse | None:
        """What somebody else has, or is about to have, answered; None when the place is ours now."""
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
        # Whoever had it may have withdrawn it since.
        return session.get(IdempotentResponse, (self.account_id, self.key)) or self.known()

    def again(self) -> None:
        """Take the place in a new transaction. Raises ``_Known`` when somebody else has it now."""
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
            return _again(known.answer, self.fingerprint)
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
            return  # it goes with everything else
        try:
            tm.abort()
            tm.begin()
            self.request.dbsession.execute(delete(IdempotentResponse).where(*self.here))
            tm.commit()
        except SQLAlchemyError as error:  # then the key says that it broke off
            log.warning("api.claim_stays", account=self.account_id, trouble=type(error).__name__)
            tm.abort()
        tm.begin()


def _again(known: IdempotentResponse, fingerprint: bytes) -> Response:
    if known.fingerprint != fingerprint:
        raise InputError({"Idempotency-Key": _("This key was used for another request. Take a new one.")})
    if known.status == UNANSWERED:
        raise Conflict(
            _(
                "The first request with this key is still being answered, or broke off. Ask again in a "
                "minute; if this stays, look what became of it, and take a new key."
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
    """A form as what it says: the boundary is another one each time it is sent."""
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
    """A file from its beginning, which it is left at."""
    file.seek(0)
    while piece := file.read(CHUNK):
        yield piece
    file.seek(0)
