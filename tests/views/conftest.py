"""Somebody who has signed in, as a browser does it: through the form, at a real mail server."""

from collections.abc import Callable
from typing import Any

import pytest

from ..support.smtp import SMTPServer


@pytest.fixture
def sign_in(smtp_server: SMTPServer) -> Callable[..., Any]:
    """``sign_in(app, "anna@example.com", password=..., status=..., next=...)``: the answer to the form."""

    def sign_in(
        app: Any,
        email: str = "anna@example.com",
        password: str = "secret",
        server: SMTPServer = smtp_server,
        status: int = 303,
        **query: str,
    ) -> Any:
        server.passwords.setdefault(email, "secret")
        form = app.get("/sign-in", {"email": email, **query}).forms[0]
        form["host"], form["port"], form["security"] = server.host, server.port, "none"
        form["password"] = password
        return form.submit(status=status)

    return sign_in


@pytest.fixture
def anna(app: Any, sign_in: Callable[..., Any]) -> Any:
    """The client of somebody who is signed in as anna@example.com."""
    sign_in(app)
    return app
