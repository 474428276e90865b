"""SMTP backend: any server that authenticates its users by a password."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from ..errors import InputError, _
from .addresses import normalise_email, normalise_host
from .base import Backend
from .network import Limits, Network
from .providers import provider_of_domain, provider_of_host
from .session import Login, Session, SmtpServer
from .session_opening import open_session
from .smtp_pipeline import SMTPConnection

# Emails that may be unanswered at once, with a relay that offers PIPELINING. At 50 ms distance a depth of
# eight costs an eighth of a round trip per email; more would only leave more in doubt when a connection
# breaks.
DEPTH = 8

# Only the superuser of a host can listen on these ports, so the host name alone identifies the server.
_PRIVILEGED = frozenset({25, 465, 587})


class SMTPSettings(BaseModel):
    """Fields of this backend's form."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    host: str = Field(
        min_length=1,
        max_length=255,
        title=_("Server"),
        description=_("The SMTP server of your mail provider."),
    )
    port: int = Field(default=587, ge=1, le=65535, title=_("Port"))
    security: Literal["tls", "starttls", "none"] = Field(
        default="starttls",
        title=_("Security"),
        description=_("Port 465 uses TLS, port 587 uses STARTTLS."),
    )
    username: str = Field(
        default="",
        max_length=320,
        title=_("Login"),
        description=_("Leave empty if it is your email address."),
    )
    password: SecretStr = Field(default=SecretStr(""), max_length=1024, title=_("Password"))

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, host: str) -> str:
        try:
            return normalise_host(host)
        except InputError as error:
            raise ValueError(error.fields["host"]) from None

    @field_validator("username")
    @classmethod
    def _username_is_one_line(cls, username: str) -> str:
        if not username.isprintable():
            raise ValueError(_("The login must be one line of text."))
        return username.strip()


class SMTPBackend(Backend):
    """An account on any SMTP server.

    Operator's options: ``depth`` (emails in flight with relays, 1 to 64), ``hello_name`` (our name in EHLO),
    ``open_relay`` (``true``: servers that require no password are accepted).
    """

    name = "smtp"
    title = "SMTP"
    domains = frozenset()
    Settings = SMTPSettings
    limits = Limits(per_day=None, per_second=None, max_connections=2, per_connection=1000)
    option_names = frozenset({"depth", "hello_name", "open_relay"})
    help = _("The password of your mail account. Some providers require an app password.")

    def __init__(
        self,
        email: str,
        settings: BaseModel,
        network: Network | None = None,
        options: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(email, settings, network, options)
        self._provider = provider_of_host(self._settings.host)
        self._check_reach()

    @classmethod
    def known(cls, email: str) -> dict[str, object]:
        """Return host, port and security of a well-known provider."""
        address = normalise_email(email)
        provider = provider_of_domain(address.rpartition("@")[2])
        if provider is None:
            return {}
        return {
            "host": provider.host,
            "port": provider.port,
            "security": provider.security,
            "username": address,
        }

    @classmethod
    def guess(cls, email: str) -> dict[str, object]:
        """Return likely values for other domains: the user sees and can correct them."""
        address = normalise_email(email)
        likely = {
            "host": f"smtp.{address.rpartition('@')[2]}",
            "port": 587,
            "security": "starttls",
            "username": address,
        }
        return cls.known(email) or likely

    @classmethod
    def password_page(cls, email: str) -> str:
        """Return the provider's page for app passwords, where it has one."""
        provider = provider_of_domain(normalise_email(email).rpartition("@")[2])
        return provider.passwords_at if provider else ""

    def own_limits(self) -> Limits:
        """Return the limits. Mailbox providers want one connection and publish a number a day."""
        if self._provider is None:
            return type(self).limits
        return Limits(per_day=self._provider.per_day, per_second=None, max_connections=1, per_connection=50)

    def identity(self) -> tuple[str, str]:
        """Return host (with its port where any user of that host could listen) and login."""
        host, port = self._settings.host, self._settings.port
        server = host if port in _PRIVILEGED else f"{host}:{port}"
        return server, unicodedata.normalize("NFKC", self._username()).casefold()

    def verify(self) -> None:
        """Log in, and check that emails from the address are accepted. Sends nothing.

        Without a password no connection is made, unless the operator accepts servers that require none.
        """
        if not self._settings.password.get_secret_value() and not self._server().login_optional:
            raise InputError({"password": _("Enter the password of this mail account.")})
        session = self._open()
        try:
            session.check_sender(self.email)
        finally:
            session.quit()

    def connect(self) -> SMTPConnection:
        """Return a connection as deep as the server and the operator allow."""
        return SMTPConnection(self._open, self._depth(), self.own_limits().per_connection)

    @property
    def _settings(self) -> SMTPSettings:
        assert isinstance(self.settings, SMTPSettings)  # noqa: S101 - the registry validated it by Settings
        return self.settings

    def _username(self) -> str:
        return self._settings.username or self.email

    def _open(self) -> Session:
        return open_session(self._server(), Login(self._username(), self._settings.password))

    def _server(self) -> SmtpServer:
        settings = self._settings
        return SmtpServer(
            host=settings.host,
            port=settings.port,
            security=settings.security,
            network=self.network,
            hello=self.options.get("hello_name", ""),
            login_optional=self.options.get("open_relay", "").lower() == "true",
        )

    def _depth(self) -> int:
        if self._provider is not None:
            return 1
        wanted = self.options.get("depth", "")
        return min(max(int(wanted), 1), 64) if wanted.isdigit() else DEPTH

    def _check_reach(self) -> None:
        """Check what needs no name server, so that errors can be shown beside the field."""
        settings, network = self._settings, self.network
        if network.allow_private:
            return
        if settings.security == "none":
            raise InputError(
                {
                    "security": _(
                        "Emails and passwords are sent only over an encrypted connection. Choose TLS or "
                        "STARTTLS."
                    )
                }
            )
        if settings.port not in network.ports:
            ports = ", ".join(map(str, sorted(network.ports)))
            raise InputError({"port": _("Use one of these ports: ${ports}.", mapping={"ports": ports})})
