"""Inbox of the local mail catcher. In development only: these routes do not exist in production."""

import re
from typing import Any

from markupsafe import Markup
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from mailganer import mail_catcher
from mailganer.errors import _
from mailganer.web import email_response

from ..web.decorators import view_config

PER_PAGE = 50
LONGEST_SOURCE = 200_000  # characters of an email's source on its page
_BASE = '<base target="_blank">'  # links open in a new tab, not within the frame


@view_config(route_name="outbox", request_method="GET", renderer="outbox/list.jinja2")
def inbox(request: Request) -> dict[str, Any]:
    """List the newest emails; ``?to=`` filters by recipient, ``?before=`` is the cursor."""
    to, before = request.GET.get("to", "").strip(), request.GET.get("before") or None
    folder = request.registry["settings"].outbox
    return {
        "page": mail_catcher.read_outbox(folder, limit=PER_PAGE, before=before, to=to),
        "to": to,
        "paged": before,
    }


@view_config(route_name="outbox", request_method="POST")
def clear(request: Request) -> Response:
    number = mail_catcher.clear_outbox(request.registry["settings"].outbox)
    request.flash(_("Deleted emails: ${number}.", mapping={"number": number}))
    return HTTPSeeOther(request.route_path("outbox"))


@view_config(route_name="outbox.email", renderer="outbox/email.jinja2")
def email(request: Request) -> dict[str, Any]:
    caught = _caught(request)
    source = caught.content[:LONGEST_SOURCE].decode("utf-8", "replace")
    return {"caught": caught, "source": source, "cut": len(caught.content) > LONGEST_SOURCE}


@view_config(route_name="outbox.frame")
def frame(request: Request) -> Response:
    """Show the email as an email app does: images are loaded, so viewing it counts as an open."""
    caught = _caught(request)
    return email_response(request, _with_base(caught.html) if caught.html else _as_text(caught.text))


def _caught(request: Request) -> mail_catcher.CaughtEmail:
    return mail_catcher.read_email(request.registry["settings"].outbox, request.matchdict["key"])


def _with_base(html: str) -> str:
    place = re.search(r"<head(\s[^>]*)?>", html, re.IGNORECASE) or re.match(
        r"\s*<!doctype[^>]*>", html, re.IGNORECASE
    )
    end = place.end() if place else 0
    return html[:end] + _BASE + html[end:]


def _as_text(text: str) -> str:
    return Markup("<!doctype html><meta charset=utf-8><pre>{}</pre>").format(text)
