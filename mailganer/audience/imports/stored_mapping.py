"""Mapping of an import as its row stores it: fields by column number, and facts about the columns."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from ..headings import EMAIL
from .statuses import STATUS

UNDECIDED: Final = "undecided"  # key of the columns that may turn out to be statuses, see ``LateStatuses``
UNREAD: Final = "unread"  # key of the columns that may hold states and were not understood
ADDRESSES: Final = "addresses"  # key of the columns of subscribers' addresses, if there are several
ENCODING: Final = "encoding"  # key of how the encoding is known, unless no other is possible
GUESSED, EXPLICIT = "guessed", "said"


def stored_mapping(
    fields: Iterable[str], undecided: Iterable[int] = (), addresses: Sequence[int] = (), encoding: str = ""
) -> dict[str, Any]:
    """Return the value of ``Import.mapping``. ``encoding`` is ``GUESSED``, ``EXPLICIT`` or nothing."""
    stored: dict[str, Any] = {str(number): field for number, field in enumerate(fields)}
    if flags := dict.fromkeys(map(str, undecided), ""):
        stored[UNDECIDED] = flags
    if len(addresses) > 1:
        stored[ADDRESSES] = list(addresses)
    if encoding:
        stored[ENCODING] = [encoding]
    return stored


def decided_mapping(stored: Mapping[str, Any], statuses: Collection[int]) -> dict[str, Any]:
    """Return the stored mapping after reading the whole file, with ``statuses`` as status columns."""
    fields = {key: field for key, field in stored.items() if key != UNDECIDED}
    unread = sorted({int(number) for number in stored.get(UNDECIDED, ())} - {*statuses})
    kept = {UNREAD: unread} if unread else {}
    return fields | dict.fromkeys(map(str, statuses), STATUS) | kept


def unread_columns(stored: Mapping[str, Any]) -> list[int]:
    """Return the columns that may say who left and are not understood, or not yet."""
    return [*stored.get(UNREAD, ()), *map(int, stored.get(UNDECIDED, ()))]


def other_addresses(stored: Mapping[str, Any]) -> list[int]:
    """Return the columns used when the chosen one has no address, except columns left out."""
    return [number for number in stored.get(ADDRESSES, ()) if stored.get(str(number)) not in (EMAIL, "")]


def mapping_of(stored: Mapping[str, Any], columns: int) -> list[str]:
    """Return the field of each column."""
    return [str(stored.get(str(number), "")) for number in range(columns)]


def is_guessed(stored: Mapping[str, Any]) -> bool:
    """Return whether the file may be in another encoding than the one it is read in."""
    return bool(stored.get(ENCODING) == [GUESSED])


def encoding_is_explicit(stored: Mapping[str, Any]) -> bool:
    """Return whether the user named the encoding."""
    return bool(stored.get(ENCODING) == [EXPLICIT])
