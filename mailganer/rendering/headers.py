"""Header fields, built so that no value can become another header.

Every value is literal text: control characters become spaces, and a text that looks like an encoded word (RFC
2047) is itself encoded, so that it is shown as written. The standard library's ``EmailMessage`` is not used:
it decodes encoded words in its input, and folds ``List-Unsubscribe``.
"""

import re
import unicodedata
from binascii import b2a_base64
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from ..errors import EmailError, _

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_PLAIN = re.compile(r"[\x20-\x7e]*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# A line with an encoded word has at most 76 columns (RFC 2047, section 2); 12 of them are =?utf-8?b? and ?=.
_WORD_COLUMNS = 76 - 12
_LONGEST = 1000
_LINE = 76

_ADDRESS = re.compile(r"""[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}""")
_LONGEST_LOCAL = 64  # octets before the @ (RFC 5321, section 4.5.3.1.1)
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,120}@[A-Za-z0-9.\[\]:-]{1,253}>")
_URL = re.compile(r"(?:https?://|mailto:)[!#-;=?-~]{1,850}")
_MAILTO = re.compile(r"mailto:[!#-;=?-~]{3,900}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")


def literal(text: str) -> str:
    """Return text as one line without control characters."""
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    return " ".join(text.split())


def text_value(text: str, column: int = 10) -> str:
    """Return the body of a Subject or another free-text header; ``column`` is where it starts."""
    text = literal(text)
    if len(text) > _LONGEST:
        raise EmailError(_("The subject is longer than 1,000 characters."), "subject")
    if not _PLAIN.fullmatch(text) or "=?" in text:
        return encoded_words(text, column)
    if len(text) + column <= _LINE:
        return text
    return _folded(text, column)


def encoded_words(text: str, column: int = 10) -> str:
    """Return ``=?utf-8?b?...?=`` as often as needed, never split inside a character."""
    code = text.encode()
    room = (_WORD_COLUMNS - column) // 4 * 3
    if len(code) <= room:
        return _word(code)
    words, at = [], 0
    while len(code) - at > room:
        end = at + room
        while code[end] & 0xC0 == 0x80:
            end -= 1
        words.append(code[at:end])
        at, room = end, (_WORD_COLUMNS - 1) // 4 * 3
    words.append(code[at:])
    return "\r\n ".join(map(_word, words))


def _word(code: bytes) -> str:
    return f"=?utf-8?b?{b2a_base64(code, newline=False).decode('ascii')}?="


def _folded(text: str, column: int) -> str:
    lines, line = [], ""
    room = _LINE - column
    for word in text.split(" "):
        if len(word) > _LINE - 2:
            return encoded_words(text, column)
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line, room = word, _LINE - 1
        else:
            line = f"{line} {word}" if line else word
    return "\r\n ".join((*lines, line))


def phrase(name: str) -> str:
    """Return a display name as atoms, a quoted string or encoded words; empty for no name."""
    return _phrase(literal(name)[:200])


@lru_cache(maxsize=4096)
def _phrase(name: str) -> str:
    if not name:
        return ""
    if not _PLAIN.fullmatch(name) or "=?" in name:
        return encoded_words(name)
    if _ATOMS.fullmatch(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def address(email: str) -> str:
    """Return an address in ASCII, its domain as A-labels. Raises ``EmailError`` for an invalid address."""
    if not email.isascii() and email.count("@") == 1:
        local, domain = email.split("@")
        with suppress(UnicodeError):
            email = f"{local}@{domain.encode('idna').decode()}"
    if not _ADDRESS.fullmatch(email):
        raise _invalid_address(email)
    return email


def recipient(email: str) -> str:
    """Return an address for ``To``: its domain in ASCII, its local part unchanged (RFC 6532, section 3.2).

    Whether a server accepts non-ASCII characters before the @ is up to the server, which offers SMTPUTF8 or
    not. Raises ``EmailError`` for an invalid address.
    """
    if _ADDRESS.fullmatch(email):
        return email
    local, at, domain = email.rpartition("@")
    if local.isascii() or not at:
        return address(email)
    if len(local.encode()) > _LONGEST_LOCAL or not all(map(_is_allowed_in_local, local)):
        raise _invalid_address(email)
    return f"{local}@{address(f'x@{domain}').removeprefix('x@')}"


def _is_allowed_in_local(character: str) -> bool:
    if character.isascii():
        return _ADDRESS.fullmatch(f"{character}@x") is not None
    return unicodedata.category(character)[0] in "LMN"


def _invalid_address(email: str) -> EmailError:
    return EmailError(
        _(
            "“${email}” is not an address that all mail servers accept.",
            mapping={"email": literal(email)[:100]},
        ),
        "email",
    )


def mailbox(name: str, email: str) -> str:
    """Return ``Name <address>``, folded before a long address; the bare address without a name."""
    spoken = phrase(name)
    if not spoken:
        return email
    last = spoken.rsplit("\n", 1)[-1]
    space = " " if len(last) + len(email) + 12 <= _LINE else "\r\n "
    return f"{spoken}{space}<{email}>"


def message_id(value: str) -> str:
    if not _MESSAGE_ID.fullmatch(value):
        raise EmailError(_("The Message-ID of this email is malformed."), "message_id")
    return value


def unsubscribe(url: str) -> str:
    """Return ``List-Unsubscribe`` of RFC 2369: one address, unfolded and unencoded, however long."""
    if not _URL.fullmatch(url) and not _MAILTO.fullmatch(url):
        raise EmailError(_("The unsubscribe address is malformed."), "unsubscribe_url")
    return f"<{url}>"


def list_id(name: str, identifier: str) -> str:
    """Return a List-Id (RFC 2919): a name for display and an identifier for programs."""
    identifier = re.sub(r"[^A-Za-z0-9._-]", "-", identifier)[:255]
    spoken = phrase(name)
    return f"{spoken} <{identifier}>" if spoken else f"<{identifier}>"


@lru_cache(maxsize=1024)
def date_value(at: datetime) -> str:
    return format_datetime(at)


def added(name: str, value: str) -> tuple[str, str]:
    """Return a header that the operator adds. Its name must not be one that we write ourselves."""
    if not _NAME.fullmatch(name) or name.lower() in OURS:
        raise EmailError(
            _("The header “${name}” cannot be added.", mapping={"name": literal(name)[:60]}), "headers"
        )
    return name, text_value(value, len(name) + 2)


OURS = frozenset(
    (
        "from",
        "to",
        "cc",
        "bcc",
        "subject",
        "date",
        "message-id",
        "reply-to",
        "sender",
        "return-path",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-id",
        "precedence",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "content-disposition",
        "auto-submitted",
    )
)


# --- the final check


def header_pattern(names: Sequence[str]) -> re.Pattern[bytes]:
    """Return a pattern for a head with exactly these headers, in order, in lines of at most 998 bytes."""
    line = rb"[^\r\n\0]{0,900}+"
    field = rb": " + line + rb"(?:\r\n[ \t][^\r\n\0]{0,900}[^ \t\r\n\0])*+"
    return re.compile(b"".join(name.encode("ascii") + field + rb"\r\n" for name in names))


def require_headers(head: bytes, pattern: re.Pattern[bytes]) -> None:
    """Verify a head before it is sent. Raises ``EmailError`` when it has any other header.

    The functions above ensure this already; here it is proven for each copy, whatever they overlook.
    """
    if not pattern.fullmatch(head):
        raise EmailError(
            _("This email was blocked because its headers are not the expected ones."), "headers"
        )
