"""Gmail and Google Workspace backend: fixed host, app password or OAuth, Google's own limits and answers.

Limits and codes: support.google.com/a/answer/166852 and support.google.com/a/answer/3726730.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from ..errors import LoginRefused, ProtocolBroken, Unreachable, _
from .base import Backend
from .messages import clean
from .network import Limits, Network
from .replies import (
    EXHAUSTED,
    LATER_ACCOUNT,
    LATER_CONNECTION,
    LATER_RECIPIENT,
    REFUSED_MESSAGE,
    REFUSED_RECIPIENT,
    UNAUTHORISED,
    ReplyRule,
    Stage,
)
from .sentmail import SentMail
from .session import Login, Session, SmtpServer
from .session_opening import open_session
from .smtp_pipeline import SMTPConnection

RULES = (
    ReplyRule(EXHAUSTED, enhanced="5.4.5"),  # daily limit; passes within 24 hours
    ReplyRule(EXHAUSTED, code="5..", words=r"(daily|user).{0,20}sending (limit|quota)"),
    ReplyRule(UNAUTHORISED, code="530"),
    ReplyRule(UNAUTHORISED, code="53[45]"),
    ReplyRule(UNAUTHORISED, code="5..", enhanced="5.7.14"),  # log in with a browser first
    ReplyRule(LATER_ACCOUNT, code="454"),  # too many logins
    ReplyRule(LATER_ACCOUNT, code="421", enhanced="4.7.*"),  # too fast, or an IP address of bad reputation
    ReplyRule(LATER_ACCOUNT, enhanced="x.7.28"),
    ReplyRule(LATER_ACCOUNT, code="452", enhanced="4.5.3"),  # too many recipients at once
    ReplyRule(LATER_ACCOUNT, code="4..", stages=frozenset({Stage.mail})),
    ReplyRule(LATER_CONNECTION, code="4..", enhanced="4.3.*"),
    ReplyRule(LATER_CONNECTION, code="421"),
    ReplyRule(LATER_RECIPIENT, code="450", enhanced="4.2.1"),  # this mailbox receives mail too fast
    ReplyRule(LATER_RECIPIENT, code="452", enhanced="4.2.2"),  # this mailbox is full
    ReplyRule(REFUSED_RECIPIENT, code="5..", enhanced="5.2.1"),
    ReplyRule(REFUSED_MESSAGE, code="552", enhanced="5.2.3"),
    ReplyRule(REFUSED_MESSAGE, code="552", enhanced="5.7.0"),  # an attachment considered dangerous
    ReplyRule(REFUSED_MESSAGE, code="550", enhanced="5.7.1", words=r"unsolicited|spam"),
)


class GmailSettings(BaseModel):
    """An app password; or, where the operator has an OAuth client, a refresh token issued to it."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    refresh_token: SecretStr = Field(
        default=SecretStr(""),
        max_length=2048,
        title=_("OAuth refresh token"),
        json_schema_extra={"form": False},
    )
    password: SecretStr = Field(
        default=SecretStr(""),
        max_length=256,
        validate_default=True,
        title=_("App password"),
        description=_("16 letters. Spaces do not matter."),
    )

    @field_validator("password")
    @classmethod
    def _without_blanks(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        # Google shows app passwords in groups of four, and accepts no other passwords here.
        bare = "".join(password.get_secret_value().split())
        token = info.data.get("refresh_token")
        if not bare and not (token and token.get_secret_value()):
            raise ValueError(_("Enter the app password."))
        return SecretStr(bare)


class GmailBackend(Backend):
    """A Google account.

    Operator's options: ``client_id`` and ``client_secret`` (OAuth), and the servers, for tests and proxies:
    ``host``, ``port``, ``security``, ``imap_host``, ``imap_port``, ``token_url``.
    """

    name = "gmail"
    title = "Gmail"
    domains = frozenset({"gmail.com", "googlemail.com"})
    Settings = GmailSettings
    # 500 recipients in any 24 hours; about a hundred emails on one connection before it is closed.
    limits = Limits(per_day=500, per_second=None, max_connections=1, per_connection=90)
    option_names = frozenset(
        {
            *("client_id", "client_secret"),
            *("host", "port", "security", "imap_host", "imap_port", "token_url"),
        }
    )
    help = _("You need an app password. Turn on two-step verification in your Google Account to create one.")
    help_url = "https://myaccount.google.com/apppasswords"

    def own_limits(self) -> Limits:
        """Return the limits: Google Workspace, recognised by a domain of its own, may send 2,000 a day."""
        if self.email.rpartition("@")[2] in self.domains:
            return type(self).limits
        return Limits(per_day=2000, per_second=None, max_connections=1, per_connection=90)

    def identity(self) -> tuple[str, str]:
        """Return server and address as written: whether dots and plus parts matter is Google's decision."""
        return "smtp.gmail.com", self.email.casefold()

    def verify(self) -> None:
        """Log in and check that the sender address is accepted. Sends nothing."""
        session = self._open()
        try:
            session.check_sender(self.email)
        finally:
            session.quit()

    def connect(self) -> SMTPConnection:
        """Return a connection with one email in flight: a doubt costs more here than a round trip."""
        return SMTPConnection(self._open, 1, self.limits.per_connection)

    def was_accepted(self, message_id: str) -> bool | None:
        """Search Sent Mail. None when the account gives no access; raises for a temporary failure."""
        host = self.options.get("imap_host", "imap.gmail.com")
        port = int(self.options.get("imap_port", "993"))
        # 993 is no port for sending emails: it is allowed here because the operator's options, not a user,
        # name the host.
        network = Network(
            self.network.allow_private,
            self.network.ports | {port},
            self.network.ca_file,
            self.network.timeouts,
        )
        return SentMail(host, port, self._login(), network).holds(message_id)

    def _open(self) -> Session:
        login = self._login()
        try:
            return open_session(self._server(), login)
        except LoginRefused as error:
            if login.bearer is not None or not error.reply:
                raise
            raise LoginRefused(
                _(
                    "Gmail rejected the password: ${reply}. Use an app password, which requires two-step "
                    "verification.",
                    mapping={"reply": error.reply.rstrip(".")},
                ),
                error.reply,
            ) from None

    def _server(self) -> SmtpServer:
        return SmtpServer(
            host=self.options.get("host", "smtp.gmail.com"),
            port=int(self.options.get("port", "587")),
            security=self.options.get("security", "starttls"),
            network=self.network,
            rules=RULES,
        )

    def _login(self) -> Login:
        settings = self.settings
        assert isinstance(settings, GmailSettings)  # noqa: S101 - the registry validated it by Settings
        if settings.refresh_token.get_secret_value():
            return Login(self.email, bearer=lambda: self._access_token(settings.refresh_token))
        return Login(self.email, settings.password)

    def _access_token(self, refresh_token: SecretStr) -> SecretStr:
        """Return a token for the next hour, from Google's token endpoint (RFC 6749, section 6)."""
        form = {
            "client_id": self.options.get("client_id", ""),
            "client_secret": self.options.get("client_secret", ""),
            "refresh_token": refresh_token.get_secret_value(),
            "grant_type": "refresh_token",
        }
        url = self.options.get("token_url", "https://oauth2.googleapis.com/token")
        body = _post(url, form, self.network.timeouts.connect)
        token = body.get("access_token")
        if not isinstance(token, str) or not token:
            raise ProtocolBroken(_("Google's response contains no access token. Try again later."))
        return SecretStr(token)


def _post(url: str, form: Mapping[str, str], seconds: float) -> Mapping[str, object]:
    # The address is the operator's, not a user's.
    request = urllib.request.Request(url, urllib.parse.urlencode(form).encode())  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            return _json(answer.read(65536))
    except urllib.error.HTTPError as error:
        with error:
            reply = clean(error.read(4096))
        raise LoginRefused(_("Google no longer permits sending. Grant access again."), reply) from None
    except OSError:
        raise Unreachable(_("Google's token service cannot be reached. Try again later.")) from None


def _json(body: bytes) -> Mapping[str, object]:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ProtocolBroken(_("Google's response contains no access token. Try again later."))
    return parsed
