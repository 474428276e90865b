"""Find the columns of a file that hold the addresses of its subscribers."""

import re
from collections.abc import Sequence
from typing import Final

from ..addresses import AddressError, parse_address, repair_address
from ..headings import EMAIL, HEADINGS, heading_words

_PERHAPS_EMAIL: Final = re.compile(r"e ?mail|почт|^адрес$|^address$|^адреса$")
_OF_OTHERS: Final = re.compile(
    r"manager|assistant|owner|referr|parent|spouse|agent|менедж|руковод|ассистент|помощник|куратор|супруг|родител"
)
# Headings of other contacts' addresses beside a subscriber's, besides those above.
_NOT_TO_FALL_BACK_ON: Final = re.compile(
    r"\b(from|sender|send(s|ing)?|by|author|creat\w*|added|modified|updat\w*|support|friend|partner|emergency"
    r"|colleague|boss|supervisor|employer|seller|sales|account|operator|user|login|source|reply|invit\w*"
    r"|secretary|husband|wife|child\w*|mother|father|teacher)\b"
    r"|отправител|автор|создал|добавил|изменил|поддержк|\bдруг(а|у|ом)?\b|друзей|партн|коллег|продав|оператор|ответствен|учител"
    r"|секретар|начальник|пригласи"
)


def email_column(headings: Sequence[str], rows: Sequence[Sequence[str]], header: bool) -> int | None:
    """Return the column that gives the most subscribers an address of their own.

    A column with an explicit address heading is replaced only by one with more than twice as many.
    """
    ranks = [_rank(words) if header else 0 for words in headings]
    counts = [_count_addresses(rows, number, rank) for number, rank in enumerate(ranks)]
    most = max(counts, default=0)
    if not most:
        return ranks.index(3) if 3 in ranks else None
    worth = [
        (rank == 3 and 2 * count >= most, rank > 0 or not header, count, rank)
        if count
        else (False, False, 0, 0)
        for rank, count in zip(ranks, counts, strict=True)
    ]
    return worth.index(max(worth))


def address_columns(columns: Sequence[str], rows: Sequence[Sequence[str]], header: bool) -> list[int]:
    """Return the columns with addresses of the subscribers themselves, in the order of the file.

    Without a telling heading, more than half of the sampled cells have to be addresses.
    """
    found = []
    for number, column in enumerate(columns):
        words = heading_words(column) if header else ""
        rank = _rank(words) if header else 1
        if rank == 3 or (
            rank and not _NOT_TO_FALL_BACK_ON.search(words) and _is_of_addresses(rows, number, rank)
        ):
            found.append(number)
    return found


def _is_of_addresses(rows: Sequence[Sequence[str]], number: int, rank: int) -> bool:
    cells = [row[number] for row in rows if len(row) > number and row[number].strip()]
    found = sum(map(is_address, cells))
    return (found > 0 or not cells) if rank > 1 else 2 * found > len(cells)


def _rank(words: str) -> int:
    """Rank a heading as a subscriber's address: 3 explicit, 2 possible, 1 unrelated, 0 another contact's."""
    if words in HEADINGS[EMAIL]:
        return 3
    if _OF_OTHERS.search(words):
        return 0
    return 2 if _PERHAPS_EMAIL.search(words) else 1


def _count_addresses(rows: Sequence[Sequence[str]], number: int, rank: int) -> int:
    """Count the different addresses in a column; 0 for a column of other values."""
    cells = [row[number].strip() for row in rows if len(row) > number and row[number].strip()]
    found = [cell.lower() for cell in cells if is_address(cell)]
    return len(set(found)) if rank > 1 or 2 * len(found) >= len(cells) else 0


def is_address(cell: str) -> bool:
    """Return whether a cell holds one address, or one that can be repaired."""
    if "@" not in cell:
        return False
    try:
        parse_address(cell)
    except AddressError:
        return repair_address(cell) is not None
    return True
