"""Parsing of cells with subscription statuses."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ...models import SubscriberStatus

ReadStatus = Callable[[str], SubscriberStatus | None]
"""Parser of a cell; None for no information. Raises ``ValueError`` for unknown words."""

MAILTRAIN_NUMBERS: Final[Mapping[str, SubscriberStatus]] = {
    "2": SubscriberStatus.unsubscribed,
    "3": SubscriberStatus.bounced,
    "4": SubscriberStatus.complained,
}
# RFC 3463: why a mail server refused an email.
_REFUSED: Final = re.compile(r"5\.\d{1,3}\.\d{1,3}(?!\S)")
_DELAYED: Final = re.compile(r"4\.\d{1,3}\.\d{1,3}(?!\S)")
_NO_WORDS: Final = "no n false 0 f off none null nil never n/a na нет н ложь не 0000-00-00"
NO: Final = frozenset(_NO_WORDS.split())
_YES_WORDS: Final = "yes y true 1 t on x да д истина +"
_YES: Final = frozenset(_YES_WORDS.split())
# The first match decides; "unsubscribed" contains "subscribed".
_WORDS: Final[Sequence[tuple[re.Pattern[str], SubscriberStatus]]] = (
    (re.compile(r"complain|\bspam|abuse|\bjunk|жалоб|спам"), SubscriberStatus.complained),
    (
        re.compile(
            r"bounce|\bcleaned?\b|\binvalid|undeliver|недостав|недействит|не существует|несуществ|возврат"
        ),
        SubscriberStatus.bounced,
    ),
    (
        re.compile(
            r"unsub|\bopt(ed)? ?out|отпис|\bremoved\b|(block|black) ?list|\bblocked|suppress|\bcancell?ed"
            r"|(not|never|non) ?subscribed|do not|disabled|archived|\bdeleted\b|\bleft\b|заблок|удал[её]н"
            r"|не подписан|отказ"
        ),
        SubscriberStatus.unsubscribed,
    ),
    (
        re.compile(
            r"un ?confirm|pending|not (yet )?confirmed|validating|\binactive|await"
            r"|не ?подтвер|ожида|неактив|не актив"
        ),
        SubscriberStatus.unconfirmed,
    ),
    (
        re.compile(
            r"active|subscribed|confirmed|enabled|opted in|valid|verified|delivered|sent"
            r"|implied|express|explicit"
            r"|актив(ен|н\w*)|подписан\w*|подтвержд[её]н\w*|действующ\w*"
        ),
        SubscriberStatus.active,
    ),
)


def most_restrictive(statuses: Iterable[SubscriberStatus | None]) -> SubscriberStatus | None:
    """Return the most restrictive status; None if there is none."""
    return max(filter(None, statuses), key=_ORDER.index, default=None)


_ORDER: Final = (
    SubscriberStatus.active,
    SubscriberStatus.unconfirmed,
    SubscriberStatus.bounced,
    SubscriberStatus.unsubscribed,
    SubscriberStatus.complained,
)
SUPPRESSED: Final = frozenset(_ORDER[2:])


def read_availability(cell: str) -> SubscriberStatus | None:
    """Parse the column that UniSender writes beside the status."""
    known = {
        "available": SubscriberStatus.active,
        "temp_unreachable": SubscriberStatus.active,
        "unreachable": SubscriberStatus.bounced,
    }
    return known.get(cell.strip().lower()) or read_state(cell)


def left_reader(left: SubscriberStatus) -> ReadStatus:
    """Return the parser of a column such as "unsubscribed" or "bounced", with yes or a date."""

    def read(cell: str) -> SubscriberStatus | None:
        word = cell.strip().lower()
        if not word or word in NO or not word.strip("-–—"):
            return None
        if word in _YES or any(map(str.isdigit, word)):
            return left
        return read_state(cell)

    return read


def read_confirmation(cell: str) -> SubscriberStatus | None:
    """Parse a cell of a column of confirmations: yes and no, or a date."""
    word = cell.strip().lower()
    if word and word in NO:
        return SubscriberStatus.unconfirmed
    if word not in _YES and any(map(str.isdigit, word)):
        return SubscriberStatus.active
    return read_state(cell)


def read_agreement(cell: str) -> SubscriberStatus | None:
    """Parse a cell of a column of yes and no: a number is that of a newsletter or a plan."""
    if cell.strip() in MAILTRAIN_NUMBERS:
        raise ValueError(cell)
    return read_state(cell)


def read_state(cell: str) -> SubscriberStatus | None:
    """Parse the words of a status, or yes and no. Raise ``ValueError`` for unknown words."""
    word = " ".join(re.sub(r"[\W_]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", cell).lower()).split())
    plain = cell.strip().lower()
    if not plain.strip("-–—[]"):
        return None
    if word in NO or plain in NO:
        return SubscriberStatus.unsubscribed
    if word in _YES or plain in _YES:
        return SubscriberStatus.active
    if plain in MAILTRAIN_NUMBERS or _REFUSED.match(plain):
        return MAILTRAIN_NUMBERS.get(plain, SubscriberStatus.bounced)
    if _DELAYED.match(plain):
        return None
    for pattern, status in _WORDS:
        if pattern.fullmatch(word) if status is SubscriberStatus.active else pattern.search(word):
            return status
    raise ValueError(cell)


def is_read(read_status: ReadStatus, cell: str) -> bool:
    try:
        read_status(cell)
    except ValueError:
        return False
    return True


def status_in(read_status: ReadStatus, cell: str) -> SubscriberStatus | None:
    try:
        return read_status(cell)
    except ValueError:
        return None
