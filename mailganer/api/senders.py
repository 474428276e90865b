"""Senders: mail accounts that emails are sent through. Secrets are accepted and never returned."""

from collections.abc import Mapping
from typing import Any

from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import select

from .. import accounts, web
from ..backends import Backend, Registry, new_mailbox, normalise_email, require_known
from ..db import utcnow
from ..errors import InputError, _
from ..models import Sender, owned
from ..quota.plan_and_sender_usage import sender_usage
from .paging import newest_first, page
from .serializers import Shape, sender_shape
from .view import api_view

# Fields of a sender itself; every other name is a field of its backend, as at sign-in.
OURS = frozenset({"backend", "email", "from_email", "name", "from_name", "settings", "limits"})


def used(request: Request, sender: Sender) -> int:
    """Return the number of emails sent in the last 24 hours."""
    return sender_usage(request.dbsession, sender.id, utcnow())


def shape(request: Request, sender: Sender) -> Shape:
    return sender_shape(sender, used(request, sender))


@api_view("api.senders", "GET")
def senders(request: Request) -> dict[str, Any]:
    own = select(Sender).where(Sender.account_id == request.context.account.id, Sender.deleted_at.is_(None))
    found, following = newest_first(request, own, Sender.id)
    return page(found, following, lambda sender: shape(request, sender))


@api_view("api.senders", "POST")
def add_sender(request: Request) -> Shape:
    body = request.openapi_validated.body
    backend = _opened(request.registry["backends"], body)
    account_id = request.context.account.id
    backend = web.verify_account(request, backend)
    sender = accounts.create_sender(
        request.dbsession,
        request.registry["backends"],
        request.registry["vault"],
        account_id,
        backend=backend.name,
        email=backend.email,
        fields={},
        name=body.get("name", ""),
        from_name=body.get("from_name", ""),
        now=utcnow(),
        proven=backend,
    )
    accounts.limit_sender(sender, **body.get("limits", {}))
    request.response.status = 201
    return shape(request, sender)


@api_view("api.sender", "GET")
def sender(request: Request) -> Shape:
    return shape(request, request.context.sender)


@api_view("api.sender", "PATCH")
def change_sender(request: Request) -> Shape:
    body = request.openapi_validated.body
    sender, proven = request.context.sender, None
    registry, vault = request.registry["backends"], request.registry["vault"]
    _require_the_same_account(sender, body)
    if body.keys() - OURS or body.get("settings", sender.settings) != sender.settings:
        fields = _fields(registry.get(sender.backend), body)
        proven = accounts.changed_backend(sender, registry, vault, fields)
        proven = web.verify_account(request, proven)
        sender = owned(request.dbsession, Sender, sender.account_id, sender.id, lock=True)
    changed = accounts.update_sender(
        request.dbsession,
        vault,
        sender,
        name=body.get("name"),
        from_name=body.get("from_name"),
        now=utcnow(),
        proven=proven,
    )
    if changed:
        web.end_other_access(request, sender.account_id)
    accounts.limit_sender(sender, **body.get("limits", {}))
    return shape(request, sender)


@api_view("api.sender", "DELETE")
def delete_sender(request: Request) -> Response:
    accounts.delete_sender(request.dbsession, request.context.sender, now=utcnow())
    return Response(status=204)


def _opened(registry: Registry, body: Mapping[str, Any]) -> Backend:
    """Return the backend for the mail account to be added. Raise ``InputError``."""
    email = new_mailbox(_address(body))
    kind = registry.get(body["backend"]) if body.get("backend") else registry.for_email(email)
    return registry.open(kind.name, email, registry.completed(kind.name, email, _fields(kind, body)))


def _address(body: Mapping[str, Any]) -> str:
    """Return the address: ``email``, as at sign-in, or ``from_email``, as in the response for a sender."""
    named = [str(body[name]) for name in ("email", "from_email") if body.get(name)]
    if not named:
        raise InputError({"email": _("This field is required.")})
    if len({normalise_email(each) for each in named}) > 1:
        raise InputError({"from_email": _("This address differs from “email”. Send only one of them.")})
    return named[0]


def _fields(kind: type[Backend], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the backend's fields, given under ``settings`` or beside it. Reject unknown names as typos."""
    beside = {name: value for name, value in body.items() if name not in OURS}
    fields = {**body.get("settings", {}), **beside}
    require_known(kind, fields, beside=OURS)
    return fields


def _require_the_same_account(sender: Sender, body: Mapping[str, Any]) -> None:
    """Reject another mail account. Sending the sender's own values back is no change."""
    posted = {name: normalise_email(body[name]) for name in ("email", "from_email") if name in body}
    changed = [name for name, email in posted.items() if email != sender.from_email]
    changed += ["backend"] if body.get("backend", sender.backend) != sender.backend else []
    if changed:
        sentence = _("The mail account of a sender cannot be changed. Add a new sender instead.")
        raise InputError(dict.fromkeys(changed, sentence))
