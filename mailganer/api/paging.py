"""Keyset pagination: ``?after=CURSOR&limit=N`` in, ``{"items", "next"}`` out.

A cursor is the id of the last item of the previous page. It is opaque to clients, so its format may change.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pyramid.request import Request
from sqlalchemy import Select

from ..errors import InputError, _

LARGEST_PAGE = 500


def asked_limit(request: Request) -> int:
    """Return the page size. A larger limit is reduced to ``LARGEST_PAGE``; ``next`` leads to the rest."""
    limit: int = request.openapi_validated.parameters.query["limit"]
    return min(limit, LARGEST_PAGE)


def asked_after(request: Request) -> int | None:
    """Return the id after which the page starts. Raise ``InputError`` for an invalid cursor."""
    text = request.GET.get("after")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InputError(
            {"after": _("The cursor is not valid. Use the value of “next” from the previous page.")}
        )
    return int(text)


def newest_first(request: Request, query: Select[Any], key: Any) -> tuple[Sequence[Any], str | None]:
    """Return one page of ``query``, newest first, and the cursor of the next page."""
    after, limit = asked_after(request), asked_limit(request)
    if after is not None:
        query = query.where(key < after)
    found = request.dbsession.scalars(query.order_by(key.desc()).limit(limit + 1)).all()
    return found[:limit], str(found[limit - 1].id) if len(found) > limit else None


def page(items: Sequence[Any], following: object, shape: Callable[[Any], Any]) -> dict[str, Any]:
    return {"items": [shape(item) for item in items], "next": None if following is None else str(following)}
