"""The tree of domain errors, and the one way a sentence for a person is made.

::

    MailganerError
    ├── SettingsError        the ini file, .env or environment is wrong: every problem at once
    ├── InputError           fields of a form or of a JSON body are wrong: every field at once
    │   └── MalformedBody    a body that is no JSON
    ├── NotFound             there is no such thing, or it belongs to somebody else
    ├── Conflict             the thing is there, but in a state that does not allow this
    │   └── NotReady         a campaign that may not be sent yet, with its problems
    ├── LimitReached         the plan allows no more; says which counter and when it frees
    ├── Throttled            too many tries; says how long to wait
    │   └── Busy             the installation does as much at once as it can
    │       └── AccountBusy  one account does as much at once as it may
    ├── EmailError          a template that cannot be used, with the line where it goes wrong
    ├── FileRefused          an uploaded file that is not what it should be
    ├── NoRoom               the installation's disk is full
    ├── SecretUnreadable     a stored password cannot be decrypted with the keys of today
    └── BackendError         what stands between us and the mail server
        ├── HostForbidden    the operator does not allow this host or port
        ├── Unreachable      no such host, refused, timed out, dropped
        │   └── TooFast      there, and asks to be left alone for a while
        ├── TLSFailed        no TLS, or a certificate that cannot be trusted
        ├── LoginRefused     the server does not accept this login or password
        ├── SenderRefused    the login is fine, but this account may not send
        ├── ProtocolBroken   the server talks nonsense
        └── BackendMissing   no such backend, or its package is broken

Every message is a translation string: English where it is logged or printed, the person's language on
a page. A view or an API answer translates it; nothing else needs to know about languages.
"""

import errno
from collections.abc import Mapping, Sequence
from datetime import datetime

from translationstring import TranslationString, TranslationStringFactory

_ = TranslationStringFactory("mailganer")


def in_english(message: str) -> str:
    """A sentence as it is logged or printed."""
    return message.interpolate() if isinstance(message, TranslationString) else message


def is_full(error: OSError) -> bool:
    """Whether it is for want of room: on the disk, in a quota, or for a file as large as files may be."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class MailganerError(Exception):
    """An error whose message is a sentence for a person: what happened, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return in_english(self.message)


class SettingsError(MailganerError):
    """Wrong or missing settings. ``problems`` lists every one of them, a sentence each."""

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
    """There is no such thing in this account."""

    def __init__(self, message: str = _("There is nothing here, or it is not yours.")) -> None:
        super().__init__(message)


class Conflict(MailganerError):
    """The thing exists, but its state does not allow what was asked."""


class NotReady(Conflict):
    """A campaign that may not be sent yet. ``problems`` are the blocking ones of its check."""

    def __init__(self, message: str, problems: Sequence[object]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class LimitReached(MailganerError):
    """The plan allows no more of ``counter`` before ``frees_at`` (None: not by waiting)."""

    def __init__(self, message: str, counter: str, frees_at: datetime | None = None) -> None:
        super().__init__(message)
        self.counter = counter
        self.frees_at = frees_at


class Throttled(MailganerError):
    """Too many tries. ``retry_after`` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(Throttled):
    """The installation does as much at once as it can. ``retry_after`` is in seconds."""


class AccountBusy(Busy):
    """One account does as much at once as it may. Others go on."""


class EmailError(MailganerError):
    """A template that cannot be used. ``field`` is its part (subject, html, ...), ``line`` counts from 1."""

    def __init__(self, message: str, field: str = "html", line: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.line = line


class FileRefused(MailganerError):
    """An uploaded file that is not what it should be. Nothing of it was kept."""


class NoRoom(MailganerError):
    """The installation's disk is full. Nothing was kept."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "There is no room left on the disk of this installation. Nothing of it was kept. "
                "Tell whoever runs it, and try again later."
            )
        )


class SecretUnreadable(MailganerError):
    """A stored password that none of today's keys can decrypt."""


class BackendError(MailganerError):
    """Something between us and the mail server. ``reply`` holds the server's own words, or nothing;
    ``retry_after`` the seconds that it names until it wants to be asked again."""

    def __init__(self, message: str, reply: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.reply, self.retry_after = reply, retry_after


class HostForbidden(BackendError):
    """The operator does not allow connections to this host or port, or without encryption: ``field`` is
    ``host``, ``port`` or ``security``."""

    def __init__(self, message: str, reply: str = "", field: str = "host") -> None:
        super().__init__(message, reply)
        self.field = field


class Unreachable(BackendError):
    """No such host, connection refused, timed out or dropped before anything was said."""


class TooFast(Unreachable):
    """The server lets us in no further because this account has been too quick for it. It passes."""


class TLSFailed(BackendError):
    """The server offers no TLS, or shows a certificate that cannot be trusted."""


class LoginRefused(BackendError):
    """The server does not accept this login and password."""


class SenderRefused(BackendError):
    """The login is accepted, but the account may not send (blocked, over its limit, wrong address)."""


class ProtocolBroken(BackendError):
    """What answers there is not a mail server, or not a sane one."""


class BackendMissing(BackendError):
    """No backend of this name is enabled, or its package cannot be loaded."""
