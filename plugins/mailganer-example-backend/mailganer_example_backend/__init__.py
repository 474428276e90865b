"""Letters by HTTP: ``POST /messages`` with the whole letter as its body.

The service answers 202 with an id, 422 for an address it will never take, 429 with ``Retry-After`` when the
account has sent enough, 401 for a wrong key. ``GET /account`` says whether a key is good.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
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
    Unreachable,
    clean,
)
from pydantic import BaseModel, ConfigDict, Field, SecretStr

# Status -> what it means for one message. Everything else is the service's own trouble: later.
MEANINGS: Mapping[int, tuple[Outcome, Scope]] = {
    202: (Outcome.accepted, Scope.recipient),
    401: (Outcome.unauthorised, Scope.account),
    413: (Outcome.refused, Scope.message),
    422: (Outcome.refused, Scope.recipient),
    429: (Outcome.exhausted, Scope.account),
}


class ExampleSettings(BaseModel):
    """The form: one field. SecretStr fields are stored encrypted and never shown again."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    key: SecretStr = Field(min_length=1, title="Key", description="Your key for the example service.")


class ExampleBackend(Backend):
    """An account at the example service. The operator names it: ``mailganer.backend.example.url``."""

    name = "example"
    title = "Example"
    domains = frozenset({"mail.example"})
    Settings = ExampleSettings
    limits = Limits(per_day=1000, max_connections=2)
    option_names = frozenset({"url"})
    help = "The key stands on the settings page of your account."

    def identity(self) -> tuple[str, str]:
        """Which account :meth:`verify` proves: the service, and the address the key belongs to."""
        return urlsplit(self._url).netloc, self.email.casefold()

    def verify(self) -> None:
        """Ask whether the key is good for this address. Sends nothing."""
        with self.connect() as connection:
            status, reply = connection.ask("GET", f"/account?email={quote(self.email)}")
        if status == 401:
            raise LoginRefused("The service refused the key.", reply)
        if status != 200:
            raise ProtocolBroken("The service answered something else than expected.", reply)

    def connect(self) -> ExampleConnection:
        """A connection that is open and whose key was accepted."""
        assert isinstance(self.settings, ExampleSettings)  # noqa: S101 - the registry validated it
        connection = ExampleConnection(self._url, self.settings.key, self.network.timeouts.connect)
        connection.open()
        return connection

    def was_accepted(self, message_id: str) -> bool | None:
        """The service remembers the Message-IDs it took."""
        try:
            with self.connect() as connection:
                status, _reply = connection.ask("GET", f"/messages/{quote(message_id.strip('<>'), safe='')}")
        except (BackendError, OSError, http.client.HTTPException):
            return None  # cannot tell: never guess
        return {200: True, 404: False}.get(status)

    @property
    def _url(self) -> str:
        return self.options.get("url", "https://api.mail.example")


class ExampleConnection(Connection):
    """One kept-alive HTTP connection, one letter at a time: ``send`` is all that is needed."""

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
        """Connect, and be let in."""
        try:
            self._http.connect()
            status, reply = self.ask("GET", "/account")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable("The service cannot be reached. Try later.", clean(str(error))) from None
        if status == 401:
            self.close()
            raise LoginRefused("The service refused the key.", reply)

    def send(self, message: Message) -> Receipt:
        """Hand over one letter. Once the request is out, no answer means: in doubt."""
        try:
            status, reply = self.ask(
                "POST",
                "/messages",
                message.content,
                {"X-Sender": message.sender, "X-Recipient": message.recipient},
            )
        except (ConnectionRefusedError, ValueError) as error:  # nothing has left
            return Receipt(message.id, Outcome.deferred, clean(str(error)), None, Scope.connection)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Receipt(message.id, Outcome.in_doubt, clean(str(error)), None, Scope.connection)
        outcome, scope = MEANINGS.get(status, (Outcome.deferred, Scope.connection))
        return Receipt(message.id, outcome, reply, self._retry_after(status), scope)

    def close(self) -> None:
        """Hang up. http.client does not mind being told twice."""
        self._http.close()

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """One request; its status and the words of its answer."""
        known = {"Authorization": f"Bearer {self._key.get_secret_value()}", "Content-Type": "message/rfc822"}
        self._http.request(method, path, body, known | dict(headers or {}))
        response = self._http.getresponse()
        self._wait = response.headers.get("Retry-After", "")
        return response.status, clean(f"{response.status} ".encode() + response.read(65536))

    def _retry_after(self, status: int) -> int | None:
        return int(self._wait) if status == 429 and self._wait.isdigit() else None
