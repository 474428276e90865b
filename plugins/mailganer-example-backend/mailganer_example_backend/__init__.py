"""Example backend: emails over HTTP, ``POST /messages`` with the whole email as its body.

The service answers 202 with an id, 422 for an address it will never accept, 429 with ``Retry-After`` when the
account has sent enough, 401 for a wrong key. ``GET /account`` shows whether a key is valid.

A 5xx comes when the service has had the whole email: one part of it may have queued the email before another
part failed. So the email is in doubt, and ``was_accepted`` finds out.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

from mailganer.backends import (
    Backend,
    BackendError,
    Connection,
    Limits,
    LoginRefused,
    Message,
    Outcome,
    ProtocolBroken,
    Receipt,
    Scope,
    TooFast,
    Unreachable,
    clean,
)
from pydantic import BaseModel, ConfigDict, Field, SecretStr

# Status -> its meaning for one message. Any other 4xx means that it was not accepted and is retried later.
MEANINGS: Mapping[int, tuple[Outcome, Scope]] = {
    202: (Outcome.accepted, Scope.recipient),
    400: (Outcome.refused, Scope.message),
    401: (Outcome.unauthorised, Scope.account),
    403: (Outcome.unauthorised, Scope.account),
    413: (Outcome.refused, Scope.message),
    422: (Outcome.refused, Scope.recipient),
    429: (Outcome.exhausted, Scope.account),
}


class ExampleSettings(BaseModel):
    """The form: one field. SecretStr fields are stored encrypted and never shown again."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    key: SecretStr = Field(min_length=1, title="Key", description="Your key for the example service.")


class ExampleBackend(Backend):
    """An account at the example service. The operator sets its URL: ``mailganer.backend.example.url``."""

    name = "example"
    title = "Example"
    domains = frozenset({"mail.example"})
    Settings = ExampleSettings
    limits = Limits(per_day=1000, max_connections=2)
    option_names = frozenset({"url"})
    help = "The key stands on the settings page of your account."

    def identity(self) -> tuple[str, str]:
        """Return the account that :meth:`verify` proves: the service, and the address the key belongs to."""
        return urlsplit(self._url).netloc, self.email.casefold()

    def verify(self) -> None:
        """Check that the key is valid for this address. Sends nothing."""
        with self.connect() as connection:
            status, reply = connection.ask("GET", f"/account?email={quote(self.email)}")
            _raise_for(status, reply, connection.retry_after)
        if status != 200:
            raise ProtocolBroken("The service answered something else than expected.", reply)

    def connect(self) -> ExampleConnection:
        """Return an open connection; its key was accepted."""
        assert isinstance(self.settings, ExampleSettings)  # noqa: S101 - the registry validated it
        connection = ExampleConnection(self._url, self.settings.key, self.network.timeouts.connect)
        connection.open()
        return connection

    def was_accepted(self, message_id: str) -> bool | None:
        """Ask the service, which stores the Message-IDs it accepted. Raises when it cannot tell now."""
        with self.connect() as connection:
            try:
                status, reply = connection.ask("GET", f"/messages/{quote(message_id.strip('<>'), safe='')}")
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable("The service cannot be reached. Try later.", clean(str(error))) from None
            if status in (200, 404):
                return status == 200
            _raise_for(status, reply, connection.retry_after)
        raise Unreachable("The service cannot tell now whether it has the email.", reply)

    @property
    def _url(self) -> str:
        return self.options.get("url", "https://api.mail.example")


class ExampleConnection(Connection):
    """One kept-alive HTTP connection, one email at a time: ``send`` is all that is needed."""

    def __init__(self, url: str, key: SecretStr, seconds: float) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        self._http = http.client.HTTPConnection(host, port, timeout=seconds)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._http = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
        self._key = key
        self._wait = ""

    def open(self) -> None:
        """Connect and check the key."""
        try:
            self._http.connect()
            status, reply = self.ask("GET", "/account")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable("The service cannot be reached. Try later.", clean(str(error))) from None
        try:
            _raise_for(status, reply, self.retry_after)
        except BackendError:
            self.close()
            raise

    def send(self, message: Message) -> Receipt:
        """Send one email. Once the request is out, no answer means: in doubt."""
        try:
            status, reply = self.ask(
                "POST",
                "/messages",
                message.content,
                {"X-Sender": message.sender, "X-Recipient": message.recipient},
            )
        except (NotInFull, ValueError) as error:
            self.close()
            return Receipt(message.id, Outcome.deferred, clean(str(error)), None, Scope.connection)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Receipt(message.id, Outcome.in_doubt, clean(str(error)), None, Scope.connection)
        if status >= 500:  # it has had the whole email, and may have kept it
            return Receipt(message.id, Outcome.in_doubt, reply, self.retry_after, Scope.connection)
        outcome, scope = MEANINGS.get(status, (Outcome.deferred, Scope.connection))
        return Receipt(message.id, outcome, reply, self.retry_after, scope)

    def close(self) -> None:
        """Close the connection. http.client allows a second call."""
        self._http.close()

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Send one request; return status and text of the answer. Raises ``NotInFull`` if it was not sent."""
        known = {"Authorization": f"Bearer {self._key.get_secret_value()}", "Content-Type": "message/rfc822"}
        try:
            self._http.request(method, path, body, known | dict(headers or {}))
        except OSError as error:
            raise NotInFull(str(error)) from None
        response = self._http.getresponse()
        self._wait = response.headers.get("Retry-After", "")
        return response.status, clean(f"{response.status} ".encode() + response.read(65536))

    @property
    def retry_after(self) -> int | None:
        """Seconds named by ``Retry-After``, as a number or as a date (RFC 9110, section 10.2.3)."""
        if self._wait.isascii() and self._wait.isdigit():
            return int(self._wait[:9])
        try:
            return max(0, round(parsedate_to_datetime(self._wait).timestamp() - time.time()))
        except (ValueError, OverflowError):
            return None


class NotInFull(OSError):
    """The request failed while it was written: the service cannot have had all of it."""


def _raise_for(status: int, reply: str, retry_after: int | None) -> None:
    """Raise the error for an answer about the account. The sender waits ``retry_after`` seconds."""
    if status in (401, 403):
        raise LoginRefused("The service refused the key.", reply)
    if status == 429:
        raise TooFast("The service has had enough questions for now.", reply, retry_after=retry_after)
    if status >= 500:
        raise Unreachable("The service is out of order. Try later.", reply, retry_after=retry_after)
