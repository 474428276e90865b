"""Subscription statuses in imported files: detection of their columns and parsing of their values.

Understood are the exports of Mailganer, Mailchimp, listmonk, Shopify, Klaviyo, Kit, MailerLite, Substack,
ActiveCampaign, Constant Contact, UniSender and phpList, the bounces of SendGrid,
and columns of yes and no such as "Accepts Email Marketing" or "Unsubscribed".
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from ...models import SubscriberStatus
from ..headings import heading_words
from .status_cells import (
    MAILTRAIN_NUMBERS,
    NO,
    SUPPRESSED,
    ReadStatus,
    is_read,
    left_reader,
    read_agreement,
    read_availability,
    read_confirmation,
    read_state,
    status_in,
)

STATUS: Final = "subscription_status"
"""The mapping target of status columns."""

_STATES: Final = re.compile(
    r"(subscription|subscriber|email|e mail|mailing|newsletter|marketing|email marketing|member|contact|list"
    r"|email subscription|email subscriber|email permission) (state|consent)|status|(email )?subscription"
    r"|(subscription|subscriber|email|e mail|mailing|newsletter|marketing|email marketing|member|contact|list"
    r"|email subscription|email subscriber|email permission) status"
    r"|email suppressions"
    r"|статус( (подписки|подписчика|контакта|email|e mail|рассылки))?|состояние( подписки)?|подписка"
)
_AGREED: Final = re.compile(
    r"(is )?(email )?(subscribed|opted in|opt in)( to (emails?|newsletters?))?|accepts (email )?marketing"
    r"|(email )?opt in status|(email |newsletter )?(subscription|consent|opt in)"
    r"|marketing (consent|opt in)"
    r"|newsletter|подписан|подписана|согласие( на рассылку| на получение рассылки)?|получает рассылку"
)
_LEFT: Final[Sequence[tuple[re.Pattern[str], SubscriberStatus]]] = (
    (
        re.compile(
            r"(is |has )?(email )?(unsubscribed?|opted out|opt out|optout)"
            r"( (of|from) (all )?(emails?|newsletters?))?( (at|on|date|time))?|(date|time) unsubscribed"
            r"|unsub (time|date)|(optout|opt out) (time|date)|do not (e ?mail|contact|send)|dnc"
            r"|(is )?(email )?(black|block) ?listed|emails? disabled|suppressed"
            r"|is this (user|subscriber) blacklisted"
            r"|отписан[ао]?|отписал(ся|ась)|отписка"
            r"|(дата|время) отписки|не (писать|беспокоить|отправлять)"
        ),
        SubscriberStatus.unsubscribed,
    ),
    (
        re.compile(
            r"(is |has )?(hard )?(bounced?|undeliverable)( (at|on|date|time|hard))?"
            r"|cleaned( (at|on|date|time))?"
            r"|недоставляем(ый|ая|о)"
        ),
        SubscriberStatus.bounced,
    ),
    (
        re.compile(
            r"(is |has )?(complained?|marked as spam|spam complaint|abuse)( (at|on|date|time))?"
            r"|жалоба( на спам)?"
        ),
        SubscriberStatus.complained,
    ),
)
_CONFIRMED: Final = re.compile(
    r"(is |has )?(the )?(email|subscription|opt in|double opt in) (is )?confirmed( (at|on|date|time))?"
    r"|is confirmed"
    r"|is the email of this (user|subscriber) confirmed"
    r"|confirmed (email|subscription|opt in)|confirmed"
    r"|(почта|email|подписка) подтвержден[ао]?"
)
# A bare "confirmed" may be about an event, so it counts only beside other columns of phpList.
_CONFIRMED_ALONE: Final = "confirmed"
_OF_PHPLIST: Final = frozenset({"blacklisted", "optedin", "bouncecount", "htmlemail", "uniqid", "foreignkey"})

# Mailtrain's numbers. Those of other programs mean other things, so they are evidence under few headings.
_NUMBERED: Final = frozenset({"subscription status", "subscriber status", "email status"})

# Columns of files without active subscribers: Mailchimp's exports of unsubscribed and cleaned contacts.
_ALL_LEFT: Final = {"unsub time": SubscriberStatus.unsubscribed, "clean time": SubscriberStatus.bounced}
_REMEMBERED: Final = 1_000  # different cells of a column that are remembered, so that each is parsed once

# Headings that may also belong to an order, and the statuses of orders.
_BARE: Final = frozenset({"status", "статус", "состояние"})
_OF_ORDERS: Final = re.compile(
    r"(?<![^\W_])(cancell?ed|delivered|sent|implied|express|explicit)(?![^\W_])", re.IGNORECASE
)
_LIKE_ORDERS: Final = re.compile(
    r"(?<![^\W_])(cancell?ed|delivered|sent|archived|deleted|removed|возврат\w*|отказ\w*)(?![^\W_])",
    re.IGNORECASE,
)


class _Evidence:
    """Evidence in the cells of a column for its heading: all are understood, or one has a suppressed status.

    Under a plain "status", words of orders count for nothing, and "no" only if all cells are understood.
    ``flags`` is what was found so far: "n" a cell that is not empty, "u" one that is not understood, "s" one
    with a status, "g" one with a certainly suppressed status (unsubscribed, bounced or complained).
    """

    def __init__(self, words: str, read_status: ReadStatus, flags: str = "") -> None:
        self._bare, self._read_status = words in _BARE, read_status
        self._numbered = words in _NUMBERED or _means_left(words)
        self.flags = flags
        self._known: set[str] = set()

    def add(self, cell: str) -> None:
        if cell in self._known or not cell or cell.isspace():
            return
        if len(self._known) < _REMEMBERED:
            self._known.add(cell)
        self.flags = "".join(sorted({*self.flags, *self._seen(cell)}))

    def _seen(self, cell: str) -> str:
        if cell.strip() in MAILTRAIN_NUMBERS and not self._numbered:
            return "nu"
        seen = "n" if is_read(self._read_status, cell) else "nu"
        if status_in(self._read_status, _OF_ORDERS.sub("", cell) if self._bare else cell):
            seen += "s"
        sure = cell.strip().lower() not in NO or not self._bare
        if (
            sure
            and status_in(self._read_status, _LIKE_ORDERS.sub("", cell) if self._bare else cell) in SUPPRESSED
        ):
            seen += "g"
        return seen

    @property
    def is_enough(self) -> bool:
        if "n" not in self.flags or "u" in self.flags:
            return "g" in self.flags
        return "s" in self.flags or not self._bare


class LateStatuses:
    """Columns whose headings may name a status, while the rest of the file is read for evidence.

    ``flags`` is what was found so far by column, stored between two pieces of the file.
    """

    def __init__(self, columns: Sequence[str], flags: Mapping[str, str]) -> None:
        headings = [heading_words(column) for column in columns]
        self._evidence = {
            int(number): _Evidence(words, read_status, seen)
            for number, seen in flags.items()
            if (read_status := _by_heading(words := headings[int(number)]))
            and not _is_unclear(words, headings)
        }

    def look(self, rows: Iterable[Sequence[str]]) -> bool:
        """Read further rows. Return whether ``flags`` have changed."""
        before = self.flags
        for cells in rows if self._evidence else ():
            for number, evidence in self._evidence.items():
                if number < len(cells):
                    evidence.add(cells[number])
        return self.flags != before

    @property
    def flags(self) -> dict[str, str]:
        return {str(number): evidence.flags for number, evidence in self._evidence.items()}

    @property
    def found(self) -> list[int]:
        """Return the numbers of the status columns."""
        return [number for number, evidence in self._evidence.items() if evidence.is_enough]


def names_a_state(words: str) -> bool:
    """Return whether a heading may name a subscription status; its cells have to confirm it."""
    return _by_heading(words) is not None


def guess_statuses(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the numbers of columns with subscription statuses.

    The heading must name a status, and the sampled cells confirm it: "status" with "gold" is a field. A
    heading such as "unsubscribed" or "bounced" needs no cells: it applies to few of many subscribers.
    """
    found = []
    for number, words in enumerate(headings):
        read_status = None if _is_unclear(words, headings) else _by_heading(words)
        cells = [row[number] for row in rows if len(row) > number and row[number].strip()]
        if read_status and (
            words in _ALL_LEFT or (_is_conclusive(words, read_status, cells) if cells else _means_left(words))
        ):
            found.append(number)
    return found


def _is_unclear(words: str, headings: Collection[str]) -> bool:
    return words == _CONFIRMED_ALONE and _OF_PHPLIST.isdisjoint(headings)


def _is_conclusive(words: str, read_status: ReadStatus, cells: Sequence[str]) -> bool:
    evidence = _Evidence(words, read_status)
    for cell in cells:
        evidence.add(cell)
    return evidence.is_enough


def _means_left(words: str) -> bool:
    return any(pattern.fullmatch(words) for pattern, _left in _LEFT)


def status_reader(heading: str) -> ReadStatus:
    """Return the parser for the cells of a column with this heading, normalized by ``heading_words``."""
    return _by_heading(heading) or read_state


def _by_heading(words: str) -> ReadStatus | None:
    if words == "email availability":
        return read_availability
    if words in _ALL_LEFT:
        status = _ALL_LEFT[words]
        return lambda _cell: status
    for pattern, left in _LEFT:
        if pattern.fullmatch(words):
            return left_reader(left)
    if _CONFIRMED.fullmatch(words):
        return read_confirmation
    if _AGREED.fullmatch(words):
        return read_agreement
    return read_state if _STATES.fullmatch(words) else None
