"""The two abstract classes of a sender backend.

A backend is one kind of mail account (any SMTP server, Gmail, a folder on disk). An instance of it is one
account: an address, its settings and what the operator allows. It opens connections; a connection accepts
messages and returns a receipt for each. Nothing here knows about campaigns, databases or pages.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, ClassVar, Self

from pydantic import BaseModel

from .addresses import normalise_email
from .backend_settings import secret_fields
from .messages import Message, Receipt
from .network import Limits, Network

SERVER_LENGTH = 255  # characters, of the server in an identity


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
