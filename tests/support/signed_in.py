"""A sign-in without its form and its mail server's reply. Tests about signing in use the form.

``tests/views/test_sign_in.py`` compares what both leave behind.
"""

from typing import Any

from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response
from webtest import TestApp

from mailganer.accounts import admit
from mailganer.backends import new_mailbox
from mailganer.db import utcnow
from mailganer.web import session_factory, sign_in_session
from mailganer.web.known_devices import remember_device

from .smtp import SMTPServer


def sign_in_at_once(client: TestApp, email: str, server: SMTPServer) -> None:
    """Make an account with a ready sender at ``server``, and give the client the cookies of a sign-in."""

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        request.registry = client.app.registry
        response = Response(request=request)
        _sign_in(request, email, server)
        request._process_response_callbacks(response)
        return response(environ, start_response)

    TestApp(answer, extra_environ=client.extra_environ, cookiejar=client.cookiejar).get("/sign-in")


def _sign_in(request: Request, email: str, server: SMTPServer) -> None:
    registry: Registry = request.registry
    settings = registry["settings"]
    fields = {"username": email, **server.settings}
    backend = registry["backends"].open("smtp", new_mailbox(email), fields)
    request.session = session_factory(settings)(request)
    with registry["sessions"].begin() as session:
        request.dbsession = session
        plan = settings.plans[0].name
        opened = admit(session, registry["backends"], registry["vault"], backend, now=utcnow(), plan=plan)
        sign_in_session(request, opened.account)
    remember_device(request, *backend.identity())
