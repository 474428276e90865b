"""Opening of an SMTP session: greeting, EHLO, TLS, login.

Each kind of failure has its own error, with the server's answer. The password is never sent before the
connection is encrypted and the certificate checked, except to a private host that the operator allows.
"""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Sequence

from ..errors import LoginRefused, ProtocolBroken, TLSFailed, _
from .addresses import normalise_host
from .hosts import open_socket
from .replies import Reply, Stage
from .session import Login, Session, SmtpServer
from .session_errors import (
    connection_error,
    no_login,
    no_tls,
    plain_forbidden,
    refused_for_now,
    temporary_error,
)
from .wire import Broken, Wire


def open_session(server: SmtpServer, login: Login, seconds: float | None = None) -> Session:
    """Connect, encrypt, log in. Raises an error of the ``BackendError`` family."""
    if server.security not in ("tls", "starttls", "none"):
        raise ValueError(f"unknown security {server.security!r}")
    sock, private = open_socket(server.host, server.port, server.network)
    setup = time.monotonic() + (seconds or server.network.timeouts.setup)
    wire = Wire(sock, min(setup, server.network.until))
    try:
        if server.security == "none" and not private:
            raise plain_forbidden(server)
        session = _begin(Session(wire, server))
        _log_in(session, login)
    except Broken as broken:
        wire.close()
        raise connection_error(server, broken) from None
    except BaseException:
        wire.close()
        raise
    wire.until = server.network.until
    return session


def _begin(session: Session) -> Session:
    server, wire = session.server, session.wire
    if server.security == "tls":
        _secure(session)
    greeting = wire.reply(server.network.timeouts.command)
    if greeting.code != 220:
        raise refused_for_now(session, greeting, Stage.greeting)
    _hello(session)
    if server.security == "starttls":
        _start_tls(session)
        _hello(session)
    return session


def _hello(session: Session) -> None:
    name = session.server.hello or session.wire.address()
    session.wire.write(f"EHLO {name}\r\n".encode("ascii"), session.server.network.timeouts.command)
    reply, lines = session.wire.lines(session.server.network.timeouts.command)
    if reply.code in (500, 502, 504):  # a server from before 1995
        reply, lines = session.command(f"HELO {name}"), []
    if not reply.ok:
        raise refused_for_now(session, reply, Stage.hello)
    session.set_features(_features(lines[1:]))


def _features(lines: Sequence[bytes]) -> dict[str, str]:
    """Return EHLO keywords in upper case with their parameters. Old servers send ``AUTH=LOGIN``."""
    features: dict[str, str] = {}
    for line in lines:
        words = line.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ").split()
        if words:
            already = features.get(words[0], "")
            features[words[0]] = " ".join([already, *words[1:]]).strip()
    return features


def _start_tls(session: Session) -> None:
    server = session.server
    if "STARTTLS" not in session.features:
        raise TLSFailed(
            _(
                "${host} does not offer encryption on port ${port}, so the password was not sent. "
                "Try port 465 or 587, or ask your provider.",
                mapping={"host": server.host, "port": server.port},
            )
        )
    reply = session.command("STARTTLS")
    if reply.code != 220:
        raise TLSFailed(
            _(
                "${host} refused to encrypt the connection: ${reply}",
                mapping={"host": server.host, "reply": reply.text},
            ),
            reply.text,
        )
    if session.wire.pending:
        # An attacker injected plain text, to be read as if it came after encryption (STARTTLS injection).
        raise TLSFailed(
            _(
                "${host} continued without encryption after agreeing to encrypt. The connection may "
                "be intercepted. Nothing was sent.",
                mapping={"host": server.host},
            )
        )
    _secure(session)


def _secure(session: Session) -> None:
    server = session.server
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if server.network.ca_file:
        context.load_verify_locations(cafile=server.network.ca_file)
    try:
        session.wire.secure(context, normalise_host(server.host).strip("[]"))
    except ssl.SSLCertVerificationError as error:
        raise TLSFailed(
            _(
                "The certificate of ${host} is not trusted (${problem}), so the password was not "
                "sent. Check the server name or contact its administrator.",
                mapping={"host": server.host, "problem": error.verify_message},
            )
        ) from None
    except ssl.SSLError as error:
        raise TLSFailed(no_tls(server, error.reason or "TLS")) from None


def _log_in(session: Session, login: Login) -> None:
    if login.empty and session.server.login_optional:
        return
    mechanisms = session.features.get("AUTH", "").split()
    if login.empty or not mechanisms:
        if session.server.login_optional:
            return
        raise no_login(session.server, login)
    _judge_login(session, _authenticate(session, login, mechanisms))


def _authenticate(session: Session, login: Login, mechanisms: Sequence[str]) -> Reply:
    user, password = login.username, login.password.get_secret_value()
    if login.bearer is not None:
        token = login.bearer().get_secret_value()
        return _authenticate_in_one_step(session, "XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01")
    if "PLAIN" in mechanisms:
        return _authenticate_in_one_step(session, "PLAIN", f"\0{user}\0{password}")
    if "LOGIN" in mechanisms:
        reply = session.command("AUTH LOGIN")
        for answer in (user, password):
            if reply.code != 334:
                return reply
            reply = session.command(_base64(answer))
        return reply
    raise ProtocolBroken(
        _(
            "${host} offers no sign-in method that Mailganer supports (${names}).",
            mapping={"host": session.server.host, "names": " ".join(mechanisms)},
        )
    )


def _authenticate_in_one_step(session: Session, mechanism: str, secret: str) -> Reply:
    reply = session.command(f"AUTH {mechanism} {_base64(secret)}")
    if reply.code == 334:  # XOAUTH2 explains a refusal first and expects an empty line before it answers 535
        reply = session.command("")
    return reply


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _judge_login(session: Session, reply: Reply) -> None:
    if reply.ok:
        return
    host = session.server.host
    if 400 <= reply.code < 500:
        raise temporary_error(session, reply, Stage.login)(
            _(
                "${host} cannot verify the password right now: ${reply}",
                mapping={"host": host, "reply": reply.text},
            ),
            reply.text,
        )
    raise LoginRefused(
        _(
            "${host} rejected the login or password: ${reply}",
            mapping={"host": host, "reply": reply.text},
        ),
        reply.text,
    )
