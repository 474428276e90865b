"""Redirects from page addresses used before 0.2, for bookmarks."""

import re
from collections.abc import Callable

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPMovedPermanently
from pyramid.request import Request
from pyramid.security import NO_PERMISSION_REQUIRED

OLD = (
    ("old.subscribers", "/people{rest:.*}", r"^/people", "/subscribers"),
    ("old.campaign_target", r"/campaigns/{number:\d+}/people", r"/people$", "/target"),
    (
        "old.campaign_email",
        r"/campaigns/{number:\d+}/letter{rest:.*}",
        r"^(/campaigns/\d+)/letter",
        r"\1/email",
    ),
)
"""Route name, pattern, and the renamed part of the path: old, new."""


def includeme(config: Configurator) -> None:
    """Add redirects from old addresses.

    Only GET is redirected: users submit the form of an old page again themselves.
    """
    for name, pattern, old, new in OLD:
        config.add_route(name, pattern, request_method="GET")
        config.add_view(_redirect(old, new), route_name=name, permission=NO_PERMISSION_REQUIRED)


def _redirect(old: str, new: str) -> Callable[[Request], HTTPMovedPermanently]:
    def view(request: Request) -> HTTPMovedPermanently:
        path = re.sub(old, new, request.path, count=1)
        return HTTPMovedPermanently(f"{path}?{request.query_string}" if request.query_string else path)

    return view
