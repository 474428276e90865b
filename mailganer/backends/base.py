"""Data types and the two abstract classes of a sender backend.

A backend is one kind of mail account (any SMTP server, Gmail, a folder on disk). An instance of it is one
account: an address, its settings and what the operator allows. It opens connections; a connection accepts
messages and returns a receipt for each. Nothing here knows about campaigns, databases or pages.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Self

import idna
from pydantic import BaseModel, PydanticUserError, SecretStr, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from translationstring import TranslationString

from ..errors import InputError, _, with_mapping

REPLY_LENGTH = 500
LONGEST_ADDRESS = 254  # maximum length between the brackets of an envelope (RFC 5321, section 4.5.3.1.3)
SERVER_LENGTH = 255  # characters, of the server in an identity

# Control and format characters that could break the display in a terminal, page or log.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Outcome(StrEnum):
    """Result of one message. A closed list: the worker knows no other."""

    accepted = "accepted"  # the server took responsibility for it
    refused = "refused"  # this recipient is refused for good; retrying does not help
    deferred = "deferred"  # not now; the recipient stays pending
    exhausted = "exhausted"  # the account reached its limit: it sleeps, the recipient stays pending
    unauthorised = "unauthorised"  # the account may not send at all: it stops and reports that
    in_doubt = "in_doubt"  # the connection broke when the server may have had the message


class Scope(StrEnum):
    """What an answer is about: decides what waits and which recipient is never tried again."""

    recipient = "recipient"  # this address
    message = "message"  # this email: its size, its content; other recipients would be refused it, too
    domain = "domain"  # the sender's domain and its DNS records (SPF, DKIM, DMARC)
    account = "account"  # the mail account: its login, its limits, its pace
    connection = "connection"  # the server or the network on the way to it


@dataclass(frozen=True, slots=True)
class Message:
    """One email to one address: ``content`` is the whole RFC 5322 message with CRLF line ends."""

    id: int | str
    sender: str
    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one message.

    ``reply`` holds the server's own answer, cut and cleaned by :func:`clean`; ``retry_after`` is in seconds
    and only set when the server, or its documentation, names a time. ``sure`` is false when the recipient had
    already been named, so that an answer which looks like one about the account or the server may be about
    the recipient: it is compared with the answers for other recipients before the sender waits or stops.
    """

    message_id: int | str
    outcome: Outcome
    reply: str = ""
    retry_after: int | None = None
    scope: Scope = Scope.recipient
    sure: bool = True

    @property
    def goes_on(self) -> bool:
        """Whether the next message can succeed on the same connection, now."""
        if self.outcome in (Outcome.exhausted, Outcome.unauthorised):
            return False
        return self.outcome is Outcome.accepted or self.scope not in (Scope.account, Scope.connection)


@dataclass(frozen=True, slots=True)
class Limits:
    """Default limits of an account. None means that no limit is known.

    ``per_day`` counts recipients in any 24 hours, ``per_second`` emails, ``max_connections`` those open at
    the same time, ``per_connection`` emails before a connection is closed and reopened.
    """

    per_day: int | None = None
    per_second: float | None = None
    max_connections: int = 1
    per_connection: int | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds. ``command`` and those after it are as in RFC 5321, section 4.5.3.2."""

    connect: float = 20.0  # name resolution and all addresses together
    setup: float = 45.0  # everything until the login is accepted: a user may be waiting for it
    command: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final: float = 600.0
    close: float = 5.0


@dataclass(frozen=True, slots=True)
class Network:
    """What the operator allows backends to reach. Passed to each of them.

    ``ports`` applies to public hosts. With ``allow_private`` a user may name loopback and private hosts, on
    any port and without TLS; this is for development. ``ca_file`` is trusted in addition to the system's
    authorities.
    """

    allow_private: bool = False
    ports: frozenset[int] = frozenset({25, 465, 587, 2525})
    ca_file: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    until: float = math.inf  # time.monotonic() at which every connection ends, whatever the timeouts are


class Connection(ABC):  # noqa: B024 - one of two methods is required, which __init_subclass__ checks
    """An open connection to the server, used by one thread at a time.

    A subclass defines :meth:`send`, or :meth:`send_many` when it can keep several messages in flight, and
    :meth:`close` when it holds resources. Neither of the first two raises for an answer of the server or for
    a lost connection: these become receipts.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.send is Connection.send and cls.send_many is Connection.send_many:
            raise TypeError(f"{cls.__qualname__} must define send() or send_many()")

    def send(self, message: Message) -> Receipt:
        """Send one message and wait for the answer."""
        return next(iter(self.send_many([message])))

    def send_many(self, messages: Iterable[Message]) -> Iterator[Receipt]:
        """Yield one receipt per message consumed, in order.

        Messages are consumed lazily. Once a receipt shows that the next one cannot succeed (``not
        receipt.goes_on``) nothing more is consumed and the iterator ends: what was not consumed was not
        touched. A message that was consumed and has no receipt, because the caller stopped iterating, may or
        may not have been sent.
        """
        for message in messages:
            receipt = self.send(message)
            yield receipt
            if not receipt.goes_on:
                return

    def close(self) -> None:  # noqa: B027 - many backends hold nothing open
        """Close the connection politely. Never raises; a second call does nothing."""

    def abort(self) -> None:
        """Drop the connection at once. May be called from another thread, to end a wait."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Backend(ABC):
    """One mail account that emails can be sent through.

    ``settings`` is an instance of this class's :attr:`Settings`; ``options`` are the operator's, from
    ``mailganer.backend.NAME.OPTION``. Creating an instance does not use the network; it may raise
    ``InputError``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    domains: ClassVar[frozenset[str]] = frozenset()
    Settings: ClassVar[type[BaseModel]]
    limits: ClassVar[Limits] = Limits()

    # Allowed names after "mailganer.backend.NAME." in the ini file; None: anything. A misspelt option has no
    # effect, so naming the options here lets the program report it.
    option_names: ClassVar[frozenset[str] | None] = None

    # For the sign-in form: a sentence, and a page where the password for it is created.
    help: ClassVar[str] = ""
    help_url: ClassVar[str] = ""

    def __init__(
        self,
        email: str,
        settings: BaseModel,
        network: Network | None = None,
        options: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.email = normalise_email(email)
        self.settings = settings
        self.network = network or Network()
        self.options = MappingProxyType(dict(options))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.email}>"

    @classmethod
    def known(cls, email: str) -> dict[str, object]:
        """Return settings that follow with certainty from the address alone. Uses no network.

        For clients that omit them.
        """
        return {}

    @classmethod
    def guess(cls, email: str) -> dict[str, object]:
        """Return initial values of the form, from the address alone. No network."""
        return cls.known(email)

    @classmethod
    def password_page(cls, email: str) -> str:
        """Return the page where the owner of this address creates an app password, or an empty string."""
        return cls.help_url

    def own_limits(self) -> Limits:
        """Return the limits this account starts with: the class's, or others when more is known."""
        return type(self).limits

    def identity(self) -> tuple[str, str]:
        """Return the normalised server and login whose password :meth:`verify` proves.

        Together with the backend's name this is the identity of the account. An address alone never is: a
        server that accepts any password must not give access to another user's account. So, by default, every
        setting that is not secret counts as part of the server: another host means another identity.
        """
        hidden = set(secret_fields(type(self.settings)))
        # Without defaults: a field that a later version adds must not change existing identities.
        shown = self.settings.model_dump(mode="json", exclude=hidden, exclude_defaults=True)
        return _server_of(self.name, shown), self.email.casefold()

    @abstractmethod
    def verify(self) -> None:
        """Verify that this account can send, or raise one of the errors of this package.

        ``HostForbidden``, ``Unreachable``, ``TooFast``, ``TLSFailed``, ``LoginRefused``, ``SenderRefused``,
        ``ProtocolBroken``; the server's answer is in their ``reply``. ``InputError`` when a field is missing,
        which needs no connection to find out.
        """

    @abstractmethod
    def connect(self) -> Connection:
        """Return an open connection, logged in. Raises the same errors as :meth:`verify`."""

    def was_accepted(self, message_id: str) -> bool | None:
        """Return whether the server has had the message with this Message-ID. None: this backend cannot tell.

        True and False must be proof. Servers store what they accept with a delay, so ask minutes later.
        Raises ``BackendError`` (``Unreachable``) when it cannot tell now: it is asked again for a day.
        """
        return None


def _server_of(name: str, settings: Mapping[str, Any]) -> str:
    """Return settings as one unique string that fits into the column for identities."""
    if not settings:
        return name
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= SERVER_LENGTH else hashlib.sha256(text.encode()).hexdigest()


def clean(reply: str | bytes) -> str:
    """Return a server's answer in a form to store and show: one line, printable, at most 500 characters.

    A sentence of ours keeps its values separate, so that it can be translated when it is shown.
    """
    if isinstance(reply, TranslationString) and reply.mapping:
        values = {
            name: clean(each) if isinstance(each, str) else each for name, each in reply.mapping.items()
        }
        return with_mapping(reply, values)
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    if not text.isprintable():
        text = _UNPRINTABLE.sub(" ", text)
    return text.strip()[:REPLY_LENGTH]


def normalise_email(email: str) -> str:
    """Return the address with its domain in lower case and, unless ASCII, encoded as in RFC 5891.

    Raises ``InputError`` for what cannot stand between the angle brackets of an envelope.
    """
    local, at, domain = email.strip().rpartition("@")
    if not at or not local or not domain or _UNSAFE.search(local) or _UNSAFE.search(domain):
        raise InputError({"email": _("Use the format name@example.com.")})
    address = f"{local}@{normalise_host(domain, 'email')}"
    if len(address) > LONGEST_ADDRESS:
        raise InputError(
            {"email": _("An address can have at most ${most} characters.", mapping={"most": LONGEST_ADDRESS})}
        )
    return address


def new_mailbox(email: str) -> str:
    """Return the normalised address of a mail account that is signed in with or added.

    Raises ``InputError`` also for likely typing errors: several @, or a domain of one word. Stored mail
    accounts are not checked for them, so that those added by earlier versions stay usable.
    """
    address = normalise_email(email)
    local, _at, domain = address.rpartition("@")
    if "@" in local:
        raise InputError(
            {"email": _("The address contains more than one @. It looks like name@example.com.")}
        )
    labels = domain.split(".")
    if len(labels) < 2 or not all(labels):
        raise InputError(
            {
                "email": _(
                    "“${domain}” is not a complete domain. An address looks like name@example.com.",
                    mapping={"domain": domain},
                )
            }
        )
    return address


_UNSAFE = re.compile(r"[\s<>\x00-\x1f\x7f]")


def normalise_host(host: str, field_name: str = "host") -> str:
    """Return a host name in lower case, in ASCII, without its trailing dot. Raises ``InputError``."""
    name = host.strip().rstrip(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            name = ""
    if not name or len(name) > 253 or not re.fullmatch(r"[a-z0-9_.:\-\[\]]+", name):
        raise InputError({field_name: _("Enter a host name such as smtp.example.com.")})
    return name


class _AnySchema(GenerateJsonSchema):
    """JSON Schema generator that allows any value for types of plugins that JSON Schema cannot express."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {  # noqa: RUF012 - pydantic's own shape
        "skipped-choice",
        "non-serializable-default",
    }

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


def settings_schema(settings: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a backend's settings, as they are given. Secrets are ``writeOnly``."""
    schema = settings.model_json_schema(schema_generator=_AnySchema)
    secrets = secret_fields(settings)
    for name, info in settings.model_fields.items():
        known = schema["properties"].get(info.alias or name, {})
        if name in secrets:
            known["writeOnly"] = True
            known.pop("default", None)
        elif info.default_factory is not None and not info.default_factory_takes_validated_data:
            made = info.get_default(call_default_factory=True)
            known["default"] = TypeAdapter(Any).dump_python(made, mode="json", fallback=str)
    return schema


def lists_among(settings: type[BaseModel]) -> frozenset[str]:
    """Return the names of the settings that take several values."""
    properties = settings_schema(settings).get("properties", {})
    return frozenset(
        name
        for name, known in properties.items()
        if any(each.get("type") == "array" for each in (known, *known.get("anyOf", ())))
    )


def secret_fields(settings: type[BaseModel]) -> frozenset[str]:
    """Return the fields that are stored encrypted and never shown: those with a ``SecretStr`` type."""
    return frozenset(name for name, info in settings.model_fields.items() if _holds_secret(info.annotation))


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in typing.get_args(annotation))


def stored_settings(model: type[BaseModel], stored: Mapping[str, Any]) -> BaseModel:
    """Return settings from their non-secret part, for uses that need no login."""
    values = {}
    for name, value in stored.items():
        info = model.model_fields.get(name)
        if info is None or info.annotation is None:
            continue
        try:  # an Enum is stored as its value
            values[name] = TypeAdapter(info.annotation).validate_python(value)
        except (ValidationError, PydanticUserError):
            values[name] = value
    return model.model_construct(**values)


def split_settings(settings: BaseModel) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings as plain JSON values: the public ones, and the secrets to encrypt."""
    secrets = secret_fields(type(settings))
    public = settings.model_dump(mode="json", exclude=set(secrets))
    hidden = {name: getattr(settings, name) for name in secrets}
    return public, {name: value.get_secret_value() for name, value in hidden.items() if value is not None}
