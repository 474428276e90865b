"""Mail accounts letters leave through. Secrets go in and never come out."""

from typing import Any

from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import select

from .. import accounts, security
from ..campaigns.allowance import sender_usage
from ..db import utcnow
from ..models import Sender
from .paging import newest_first, page
from .shapes import Shape, sender_shape
from .view import api_view


def used(request: Request, sender: Sender) -> int:
    """Letters in the last 24 hours."""
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
    registry, email = request.registry["backends"], body["email"]
    backend = registry.open(
        body.get("backend") or registry.for_email(email).name, email, dict(body.get("settings", {}))
    )
    account_id = request.context.account.id
    security.prove(request, backend)
    sender = accounts.create_sender(
        request.dbsession,
        registry,
        request.registry["vault"],
        account_id,
        backend=backend.name,
        email=email,
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
    if body.get("settings", sender.settings) != sender.settings:
        proven = accounts.changed_backend(
            sender, request.registry["backends"], request.registry["vault"], dict(body["settings"])
        )
        security.prove(request, proven)
        sender = request.dbsession.get(Sender, sender.id)
    accounts.update_sender(
        request.dbsession,
        request.registry["vault"],
        sender,
        name=body.get("name"),
        from_name=body.get("from_name"),
        now=utcnow(),
        proven=proven,
    )
    accounts.limit_sender(sender, **body.get("limits", {}))
    return shape(request, sender)


@api_view("api.sender", "DELETE")
def delete_sender(request: Request) -> Response:
    accounts.delete_sender(request.dbsession, request.context.sender, now=utcnow())
    return Response(status=204)
