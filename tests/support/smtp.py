"""A mail server for tests: a real port, AUTH, and every email kept in memory."""

import email
import email.policy
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from .ports import free_port


@dataclass(frozen=True)
class Collected:
    """One email as it was received."""

    sender: str
    recipient: str
    content: bytes

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.default)

    def part(self, kind: str = "html") -> str:
        """Return the decoded text of its HTML part, or else of its text part."""
        body = self.message.get_body((kind,))
        assert body is not None, f"the email to {self.recipient} has no {kind} part"
        return body.get_content()


@dataclass
class SMTPServer:
    """Accepts the logins in ``passwords`` and keeps the emails.

    ``refuse`` maps a recipient to the reply it gets instead, as ``"550 5.1.1 no such user"``.
    With ``needs_login=False`` it accepts emails without a login.
    """

    passwords: dict[str, str] = field(default_factory=lambda: {"anna@example.com": "secret"})
    needs_login: bool = True
    refuse: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self.port = free_port()
        self.logins: list[str] = []
        self._emails: list[Collected] = []
        self._lock = threading.Lock()
        self._controller: Controller | None = None
        self.start()

    @property
    def emails(self) -> list[Collected]:
        with self._lock:
            return list(self._emails)

    @property
    def counts(self) -> Counter[str]:
        """Return how many emails each recipient got."""
        with self._lock:
            return Counter(email.recipient for email in self._emails)

    @property
    def settings(self) -> dict[str, object]:
        """Return the fields of the ``smtp`` backend for this server."""
        security = "starttls" if self.tls else "none"
        return {"host": self.host, "port": self.port, "security": security, "password": "secret"}

    def to(self, recipient: str) -> list[Collected]:
        return [email for email in self.emails if email.recipient == recipient]

    def forget(self) -> None:
        with self._lock:
            self._emails.clear()

    def start(self) -> None:
        self._controller = Controller(
            self,
            hostname=self.host,
            port=self.port,
            authenticator=self._authenticate,
            auth_require_tls=self.tls is not None,
            tls_context=self.tls,
            decode_data=False,
            enable_SMTPUTF8=True,
        )
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        login, password = data.login.decode(), data.password.decode()
        self.logins.append(login)
        return AuthResult(success=self.passwords.get(login) == password, handled=False)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.needs_login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        with self._lock:
            for recipient in envelope.rcpt_tos:
                self._emails.append(Collected(envelope.mail_from or "", recipient, content))
        return "250 2.0.0 kept"
