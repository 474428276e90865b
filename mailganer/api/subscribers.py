"""Lists and subscribers."""

from collections.abc import Sequence
from typing import Any

from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import select

from .. import audience as verbs
from ..db import utcnow
from ..errors import InputError, _
from ..models import Subscriber, SubscriberList, SubscriberStatus, list_member, owned
from .paging import asked_after, asked_limit, newest_first, page
from .serializers import Shape, list_shape, subscriber_shape
from .view import api_view


@api_view("api.lists", "GET")
def lists(request: Request) -> dict[str, Any]:
    own = select(SubscriberList).where(
        SubscriberList.account_id == request.context.account.id, ~verbs.waits_for_its_file()
    )
    found, following = newest_first(request, own, SubscriberList.id)
    counts = verbs.list_counts(request.dbsession, [lst.id for lst in found])
    return page(found, following, lambda lst: list_shape(lst, counts[lst.id]))


@api_view("api.lists", "POST")
def create_list(request: Request) -> Shape:
    body = request.openapi_validated.body
    lst = verbs.create_list(request.dbsession, request.context.account.id, now=utcnow(), **body)
    request.response.status = 201
    return _list(request, lst)


@api_view("api.list", "GET")
def one_list(request: Request) -> Shape:
    return _list(request, request.context.list)


@api_view("api.list", "PATCH")
def change_list(request: Request) -> Shape:
    body = request.openapi_validated.body
    return _list(request, verbs.rename_list(request.dbsession, request.context.list, **body))


@api_view("api.list", "DELETE")
def delete_list(request: Request) -> Response:
    verbs.delete_list(request.dbsession, request.context.list)
    return Response(status=204)


@api_view("api.subscribers", "GET")
def subscribers(request: Request) -> dict[str, Any]:
    query = f"{request.GET.get('query', '')} {request.GET.get('q', '')}".strip()
    return _found(request, query, request.context.list.id)


@api_view("api.all_subscribers", "GET")
def all_subscribers(request: Request) -> dict[str, Any]:
    """Return subscribers of the account, on any list, on the given one, or on none."""
    chosen = request.GET.get("list")
    lst = (
        owned(request.dbsession, SubscriberList, request.context.account.id, int(chosen)) if chosen else None
    )
    return _found(request, request.GET.get("q", ""), lst.id if lst else None)


def _found(request: Request, query: str, list_id: int | None) -> dict[str, Any]:
    chosen = request.GET.get("status")
    # A plus that was not URL-encoded arrives as a space, which no address contains.
    email = request.GET.get("email", "").strip().replace(" ", "+")
    found = verbs.search_subscribers(
        request.dbsession,
        request.context.account.id,
        query=query,
        email_key=verbs.parse_address(email).key if email else "",
        status=SubscriberStatus(chosen) if chosen else None,
        list_id=list_id,
        after=asked_after(request),
        limit=asked_limit(request),
    )
    on_lists = _lists_of(request, found.items)
    return page(
        found.items, found.next, lambda subscriber: subscriber_shape(subscriber, on_lists[subscriber.id])
    )


@api_view("api.subscribers", "POST")
def add_subscriber(request: Request) -> Shape:
    added = verbs.add_subscriber(
        request.dbsession,
        request.context.account,
        lists=[request.context.list],
        now=utcnow(),
        settings=request.registry["settings"],
        **request.openapi_validated.body,
    )
    request.response.status = 201
    return _subscriber(request, added.subscriber)


@api_view("api.subscriber", "GET")
def subscriber(request: Request) -> Shape:
    return _subscriber(request, request.context.subscriber)


@api_view("api.subscriber", "PATCH")
def change_subscriber(request: Request) -> Shape:
    changes = dict(request.openapi_validated.body)
    session, account, now = request.dbsession, request.context.account, utcnow()
    if "lists" in changes:
        changes["lists"] = [owned(session, SubscriberList, account.id, each) for each in changes["lists"]]
    leaves = _is_unsubscribe(request.context.subscriber, changes.pop("status", None))
    subscriber = verbs.update_subscriber(session, request.context.subscriber, changes, now)
    if leaves:
        verbs.unsubscribe(session, subscriber, reason="api", now=now)
    return _subscriber(request, subscriber)


@api_view("api.subscriber", "DELETE")
def erase_subscriber(request: Request) -> Response:
    verbs.erase_subscriber(request.dbsession, request.context.subscriber)
    return Response(status=204)


def _is_unsubscribe(subscriber: Subscriber, status: str | None) -> bool:
    """Return whether to unsubscribe. Raise ``InputError`` for any other change of the status."""
    if status in (None, subscriber.status, SubscriberStatus.unsubscribed):
        return status == SubscriberStatus.unsubscribed
    raise InputError(
        {"status": _("A subscriber can only be unsubscribed here. Only they can subscribe again.")}
    )


def _list(request: Request, lst: SubscriberList) -> Shape:
    return list_shape(lst, verbs.list_counts(request.dbsession, [lst.id])[lst.id])


def _subscriber(request: Request, subscriber: Subscriber) -> Shape:
    return subscriber_shape(subscriber, _lists_of(request, [subscriber])[subscriber.id])


def _lists_of(request: Request, subscribers: Sequence[Subscriber]) -> dict[int, list[int]]:
    """Return the ids of the lists of each subscriber, in one query."""
    on_lists: dict[int, list[int]] = {subscriber.id: [] for subscriber in subscribers}
    rows = request.dbsession.execute(
        select(list_member.c.subscriber_id, list_member.c.list_id)
        .where(list_member.c.subscriber_id.in_(list(on_lists)))
        .order_by(list_member.c.list_id)
    )
    for subscriber_id, list_id in rows:
        on_lists[subscriber_id].append(list_id)
    return on_lists
