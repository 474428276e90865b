"""Page shown while another server is called. It reloads itself, without JavaScript too."""

from typing import Any

from pyramid.request import Request

from mailganer.errors import _
from mailganer.web import PUBLIC, OutsideCalls
from mailganer.web.pending_forms import PendingForms

from ..web.decorators import view_config
from .errors import ErrorPage

RELOAD_AFTER = 1  # seconds between reloads


@view_config(route_name="waiting", request_method="GET", renderer="waiting.jinja2", permission=PUBLIC)
def waiting(request: Request) -> dict[str, Any]:
    """Show how long the call has taken; afterwards this URL shows the result of the form."""
    pending: PendingForms = request.registry["pending"]
    form = pending.of(request, request.matchdict["key"])
    if form is None:
        return _gone(request)
    request.response.headers["Refresh"] = str(RELOAD_AFTER)
    calls: OutsideCalls = request.registry["outside"]
    left = max(0.0, form.call.left())
    return {
        "most": round(calls.seconds),
        "past": round(calls.seconds - left),
        "back": _page_of(request, form.path),
    }


def _page_of(request: Request, path: str) -> str:
    """Return the page whose form waits."""
    return path if path.startswith("/sign-in") else request.route_path("home")


def _gone(request: Request) -> dict[str, Any]:
    request.response.status_int = 404
    request.override_renderer = "error.jinja2"
    text = _(
        "The result was already shown, has expired, or was requested in another browser. "
        "Open the form and submit it again."
    )
    trouble = ErrorPage(
        _("Result no longer available"), text, _("Go to the home page"), request.route_path("home")
    )
    return {"trouble": trouble}
