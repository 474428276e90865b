"""Tree of domain errors, and the marker ``_`` for translatable messages.

::

    MailganerError
    ├── SettingsError        the ini file, .env or environment is wrong: all problems at once
    ├── InputError           fields of a form or of a JSON body are wrong: all fields at once
    │   └── MalformedBody    a body that is not JSON
    ├── NotFound             there is no such object, or it belongs to another account
    ├── Conflict             the object exists, but in a state that does not allow the operation
    │   └── NotReady         a campaign that may not be sent yet, with its problems
    ├── LimitReached         the plan allows no more; names the counter and when it frees
    ├── Throttled            too many attempts; names the time to wait
    │   └── Busy             the installation is at its limit of concurrent work
    │       └── AccountBusy  one account is at its limit of concurrent work
    ├── EmailError           a template that cannot be used, with the line of the error
    ├── FileRefused          an uploaded file that cannot be used
    ├── NoRoom               the installation's disk is full
    ├── SecretUnreadable     a stored password cannot be decrypted with the current keys
    └── BackendError         a failure between us and the mail server
        ├── HostForbidden    the operator does not allow this host or port
        ├── Unreachable      no such host, refused, timed out, dropped
        │   └── TooFast      reachable, but refuses this account for a while
        ├── TLSFailed        no TLS, or a certificate that cannot be trusted
        ├── LoginRefused     the server does not accept this login or password
        ├── SenderRefused    the login is accepted, but this account may not send
        ├── ProtocolBroken   the server does not follow the protocol
        └── BackendMissing   no such backend, or its package is broken

Every message is a translation string: English where it is logged or printed, the user's language on a page.
A view or an API answer translates it; nothing else needs to know about languages.
"""

import errno
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from translationstring import TranslationString, TranslationStringFactory


class _MessageFactory(Protocol):
    """Make a translation string: the English text of a message, which a page or an API answer translates."""

    def __call__(self, message: str, /, *, mapping: Mapping[str, object] | None = None) -> str: ...


_: _MessageFactory = TranslationStringFactory("mailganer")


def composed(template: str, mapping: Mapping[str, object]) -> str:
    """Return a translation string around others. Its values are translated, its own text is not."""
    message: str = TranslationString(template, domain="mailganer", mapping=mapping)
    return message


def with_mapping(message: TranslationString, mapping: Mapping[str, object]) -> str:
    """Return a translation string with other values for its placeholders."""
    changed: str = TranslationString(message, domain=message.domain, default=message.default, mapping=mapping)
    return changed


def in_english(message: str) -> str:
    """Return a sentence in English, as it is logged or printed."""
    return message.interpolate() if isinstance(message, TranslationString) else message


def is_full(error: OSError) -> bool:
    """Return whether the cause is lack of space: on the disk, in a quota, or in the maximum file size."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MailganerError(Exception):
    """An error whose message is a sentence for the user: what failed, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return in_english(self.message)


class SettingsError(MailganerError):
    """Wrong or missing settings. ``problems`` lists all of them, a sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(in_english(problem) for problem in problems))
        self.problems = tuple(problems)


class InputError(MailganerError):
    """Wrong fields. ``fields`` maps a field's name to the sentence to show beside it."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(" ".join(in_english(message) for message in fields.values()))
        self.fields = dict(fields)


class MalformedBody(InputError):
    """A body that cannot be parsed as JSON."""


class NotFound(MailganerError):
    """There is no such object in this account."""

    def __init__(self, message: str = _("Not found, or it belongs to another account.")) -> None:
        super().__init__(message)


class Conflict(MailganerError):
    """The object exists, but its state does not allow the operation."""


class NotReady(Conflict):
    """A campaign that may not be sent yet. ``problems`` are the blocking ones of its check."""

    def __init__(self, message: str, problems: Sequence[object]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class LimitReached(MailganerError):
    """The plan allows no more of ``counter`` before ``frees_at`` (None: waiting does not help)."""

    def __init__(self, message: str, counter: str, frees_at: datetime | None = None) -> None:
        super().__init__(message)
        self.counter = counter
        self.frees_at = frees_at


class Throttled(MailganerError):
    """Too many attempts. ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(Throttled):
    """The installation is at its limit of concurrent work. ``retry_after`` is in seconds."""


class AccountBusy(Busy):
    """One account is at its limit of concurrent work. Other accounts are not affected."""


class EmailError(MailganerError):
    """A template that cannot be used. ``field`` is its part (subject, html, ...), ``line`` counts from 1."""

    def __init__(self, message: str, field: str = "html", line: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.line = line


class FileRefused(MailganerError):
    """An uploaded file that cannot be used. Nothing of it was stored."""


class NoRoom(MailganerError):
    """The installation's disk is full. Nothing was stored."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "The disk of this installation is full. Nothing was saved. Tell the operator and try "
                "again later."
            )
        )


class SecretUnreadable(MailganerError):
    """A stored password that none of the current keys can decrypt."""


class BackendError(MailganerError):
    """A failure between us and the mail server.

    ``reply`` holds the server's own answer, or nothing; ``retry_after`` the seconds until the server wants to
    be asked again, if it named any.
    """

    def __init__(self, message: str, reply: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.reply, self.retry_after = reply, retry_after


class HostForbidden(BackendError):
    """The operator does not allow connections to this host or port, or without encryption.

    ``field`` is ``host``, ``port`` or ``security``.
    """

    def __init__(self, message: str, reply: str = "", field: str = "host") -> None:
        super().__init__(message, reply)
        self.field = field


class Unreachable(BackendError):
    """No such host, connection refused, timed out or dropped before the first answer."""


class TooFast(Unreachable):
    """The server refuses further connections because this account was too fast. Temporary."""


class TLSFailed(BackendError):
    """The server offers no TLS, or presents a certificate that cannot be trusted."""


class LoginRefused(BackendError):
    """The server does not accept this login and password."""


class SenderRefused(BackendError):
    """The login is accepted, but the account may not send (blocked, over its limit, wrong address)."""


class ProtocolBroken(BackendError):
    """The other side is not a mail server, or does not follow the protocol."""


class BackendMissing(BackendError):
    """No backend of this name is enabled, or its package cannot be loaded."""
