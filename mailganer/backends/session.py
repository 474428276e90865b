"""An SMTP session that is ready for emails, and the server and login it is opened with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr

from ..errors import SenderRefused, _
from .extensions import CHUNKING, PIPELINING, REFUSED_FOR, avoid, is_avoided
from .network import Network, Timeouts
from .replies import Reply, ReplyOutcome, ReplyRule, Stage, classify
from .session_errors import connection_error, sender_refused
from .wire import Broken, Wire

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
    """An SMTP session that is ready for MAIL. Created by :func:`.session_opening.open_session`."""

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
                raise sender_refused(self.server, address, reply)
            self.command("RSET")
        except Broken as broken:
            raise connection_error(self.server, broken) from None

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
