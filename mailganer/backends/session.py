"""Opening of an SMTP session: greeting, EHLO, TLS, login.

Each kind of failure has its own error, with the server's answer. The password is never sent before the
connection is encrypted and the certificate checked, except to a private host that the operator allows.
"""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from ..errors import (
    BackendError,
    HostForbidden,
    LoginRefused,
    ProtocolBroken,
    SenderRefused,
    TLSFailed,
    TooFast,
    Unreachable,
    _,
)
from .addresses import normalise_host
from .extensions import CHUNKING, PIPELINING, REFUSED_FOR, avoid, is_avoided
from .hosts import open_socket
from .messages import Outcome, Scope
from .network import Network, Timeouts
from .replies import Reply, ReplyOutcome, ReplyRule, Stage, classify
from .wire import Broken, InvalidReply, Wire

# Seconds of silence after which the server is probed.
PROBE_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials. ``bearer`` returns an OAuth access token that replaces the password (XOAUTH2)."""

    username: str
    password: SecretStr = field(default_factory=lambda: SecretStr(""))
    bearer: Callable[[], SecretStr] | None = field(default=None, repr=False)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to log in with."""
        return self.bearer is None and not self.password.get_secret_value()


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Address of a server, its security, and how its answers are interpreted."""

    host: str
    port: int
    security: str  # tls, starttls, none
    network: Network
    hello: str = ""  # our name in EHLO; empty: our address
    rules: Sequence[ReplyRule] = ()
    # For a relay that recognises us by our address, a server without AUTH is accepted.
    login_optional: bool = False


class Session:
    """An SMTP session that is ready for MAIL. Created by :func:`open_session`."""

    def __init__(self, wire: Wire, server: SmtpServer) -> None:
        self.wire = wire
        self.server = server
        self.set_features({})
        self.answered = 0  # emails that got their final answer in this session
        self.begun = 0  # emails written in this session
        self.resets = True  # RSET was not refused

    @property
    def timeouts(self) -> Timeouts:
        """How long each kind of answer may take."""
        return self.server.network.timeouts

    def set_features(self, features: dict[str, str]) -> None:
        """Store the extensions that the server offers, once for all emails."""
        self.features = features
        self.pipelining = self._usable(PIPELINING)
        self.chunking = self.pipelining and self._usable(CHUNKING)
        self.eight_bit = "8BITMIME" in features
        self.utf8 = "SMTPUTF8" in features
        # None: the server does not announce a limit; 0: it announces that it has none.
        size = features.get("SIZE", "0") or "0"
        self.size_limit = int(size) if "SIZE" in features and size.isdigit() else None

    def avoid(self, extension: str, seconds: float = REFUSED_FOR) -> None:
        """Do not use an extension that was offered, now and on later connections to this server."""
        avoid(self.server.host, self.server.port, extension, seconds)
        if extension == PIPELINING:
            self.pipelining = False
        self.chunking = False

    def _usable(self, extension: str) -> bool:
        return extension in self.features and not is_avoided(self.server.host, self.server.port, extension)

    def command(self, line: str, seconds: float | None = None) -> Reply:
        """Send one line and return the answer."""
        self.wire.write(line.encode("ascii") + b"\r\n", seconds or self.timeouts.command)
        return self.wire.reply(seconds or self.timeouts.command)

    def judge(self, reply: Reply, stage: Stage) -> ReplyOutcome:
        """Return the meaning of an answer from this server."""
        return classify(reply, stage, self.server.rules)

    def check_sender(self, address: str) -> None:
        """Verify that the server accepts emails from this address. Sends none."""
        try:
            reply = self.command(f"MAIL FROM:<{_path(address)}>")
            if not reply.ok:
                raise _sender_refused(self.server, address, reply)
            self.command("RSET")
        except Broken as broken:
            raise _connection_error(self.server, broken) from None

    def is_alive(self, idle: float) -> bool:
        """Return whether the server is still there after ``idle`` seconds without traffic.

        An email written to a dead connection would be in doubt needlessly.
        """
        if not self.wire.is_quiet():
            return False
        if idle < PROBE_AFTER:
            return True
        try:
            return self.command("RSET", self.timeouts.connect).ok
        except Broken:
            return False

    def quit(self) -> None:
        """Send QUIT if the connection still works. The answer does not matter."""
        try:
            self.command("QUIT", self.server.network.timeouts.close)
        except Broken:
            return
        finally:
            self.wire.close()


def open_session(server: SmtpServer, login: Login, seconds: float | None = None) -> Session:
    """Connect, encrypt, log in. Raises an error of the ``BackendError`` family."""
    if server.security not in ("tls", "starttls", "none"):
        raise ValueError(f"unknown security {server.security!r}")
    sock, private = open_socket(server.host, server.port, server.network)
    setup = time.monotonic() + (seconds or server.network.timeouts.setup)
    wire = Wire(sock, min(setup, server.network.until))
    try:
        if server.security == "none" and not private:
            raise _plain_forbidden(server)
        session = _begin(Session(wire, server))
        _log_in(session, login)
    except Broken as broken:
        wire.close()
        raise _connection_error(server, broken) from None
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
        raise _refused_for_now(session, greeting, Stage.greeting)
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
        raise _refused_for_now(session, reply, Stage.hello)
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
        raise TLSFailed(_no_tls(server, error.reason or "TLS")) from None


def _no_tls(server: SmtpServer, problem: str) -> str:
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


def _log_in(session: Session, login: Login) -> None:
    if login.empty and session.server.login_optional:
        return
    mechanisms = session.features.get("AUTH", "").split()
    if login.empty or not mechanisms:
        if session.server.login_optional:
            return
        raise _no_login(session.server, login)
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
        raise _temporary_error(session, reply, Stage.login)(
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


def _no_login(server: SmtpServer, login: Login) -> BackendError:
    if login.empty:
        return LoginRefused(_("Enter the password to prove that this account is yours."))
    return LoginRefused(
        _(
            "${host} does not require a password on port ${port}, so it cannot prove that this "
            "account is yours. Try port 465 or 587.",
            mapping={"host": server.host, "port": server.port},
        )
    )


def _sender_refused(server: SmtpServer, address: str, reply: Reply) -> BackendError:
    return SenderRefused(
        _(
            "The password is correct, but ${host} does not accept emails from ${address}: ${reply}",
            mapping={"host": server.host, "address": address, "reply": reply.text},
        ),
        reply.text,
    )


def _refused_for_now(session: Session, reply: Reply, stage: Stage) -> BackendError:
    return _temporary_error(session, reply, stage)(
        _(
            "${host} does not accept emails from this installation right now: ${reply}",
            mapping={"host": session.server.host, "reply": reply.text},
        ),
        reply.text,
    )


def _temporary_error(session: Session, reply: Reply, stage: Stage) -> type[Unreachable]:
    """Return the error class for a temporary refusal: about this account's pace, or general."""
    verdict = session.judge(reply, stage)
    is_about_pace = verdict.outcome is Outcome.deferred and verdict.scope is Scope.account
    return TooFast if is_about_pace else Unreachable


def _plain_forbidden(server: SmtpServer) -> BackendError:
    return HostForbidden(
        _(
            "Mailganer does not connect to ${host} without encryption. Choose TLS or STARTTLS.",
            mapping={"host": server.host},
        ),
        field="security",
    )


def _connection_error(server: SmtpServer, broken: Broken) -> BackendError:
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


def _path(address: str) -> str:
    """Return an address for MAIL FROM. Its domain is ASCII already; a non-ASCII local part needs SMTPUTF8."""
    if not address.isascii():
        raise SenderRefused(
            _(
                "${address} has characters before the @ that mail servers do not accept.",
                mapping={"address": address},
            )
        )
    return address
