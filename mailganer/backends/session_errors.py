"""Errors of an SMTP session, as the user reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import (
    BackendError,
    HostForbidden,
    LoginRefused,
    ProtocolBroken,
    SenderRefused,
    TooFast,
    Unreachable,
    _,
)
from .messages import Outcome, Scope
from .replies import Reply, Stage
from .wire import Broken, InvalidReply

if TYPE_CHECKING:
    from .session import Login, Session, SmtpServer


def no_tls(server: SmtpServer, problem: str) -> str:
    if problem == "WRONG_VERSION_NUMBER":  # the answer was not TLS but plain text
        return _(
            "${host} does not use TLS on port ${port}. The port and the type of security may not "
            "match: 465 is TLS, 587 is STARTTLS.",
            mapping={"host": server.host, "port": server.port},
        )
    return _(
        "The TLS connection to ${host} failed (${problem}). The port and the type of "
        "security may not match: 465 is TLS, 587 is STARTTLS.",
        mapping={"host": server.host, "problem": problem},
    )


def no_login(server: SmtpServer, login: Login) -> BackendError:
    if login.empty:
        return LoginRefused(_("Enter the password to prove that this account is yours."))
    return LoginRefused(
        _(
            "${host} does not require a password on port ${port}, so it cannot prove that this "
            "account is yours. Try port 465 or 587.",
            mapping={"host": server.host, "port": server.port},
        )
    )


def sender_refused(server: SmtpServer, address: str, reply: Reply) -> BackendError:
    return SenderRefused(
        _(
            "The password is correct, but ${host} does not accept emails from ${address}: ${reply}",
            mapping={"host": server.host, "address": address, "reply": reply.text},
        ),
        reply.text,
    )


def refused_for_now(session: Session, reply: Reply, stage: Stage) -> BackendError:
    return temporary_error(session, reply, stage)(
        _(
            "${host} does not accept emails from this installation right now: ${reply}",
            mapping={"host": session.server.host, "reply": reply.text},
        ),
        reply.text,
    )


def temporary_error(session: Session, reply: Reply, stage: Stage) -> type[Unreachable]:
    """Return the error class for a temporary refusal: about this account's pace, or general."""
    verdict = session.judge(reply, stage)
    is_about_pace = verdict.outcome is Outcome.deferred and verdict.scope is Scope.account
    return TooFast if is_about_pace else Unreachable


def plain_forbidden(server: SmtpServer) -> BackendError:
    return HostForbidden(
        _(
            "Mailganer does not connect to ${host} without encryption. Choose TLS or STARTTLS.",
            mapping={"host": server.host},
        ),
        field="security",
    )


def connection_error(server: SmtpServer, broken: Broken) -> BackendError:
    if isinstance(broken, InvalidReply):
        return ProtocolBroken(
            _(
                "${host}, port ${port}, is not a mail server. Check the server and the port.",
                mapping={"host": server.host, "port": server.port},
            )
        )
    return Unreachable(
        _(
            "The connection to ${host}, port ${port}, timed out or was closed. Try again later, "
            "or check the port and the type of security.",
            mapping={"host": server.host, "port": server.port},
        )
    )
