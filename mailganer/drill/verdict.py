"""Comparison of the installation's state of every recipient with what the mail server really received.

Plain data in, findings out, so that the drill's own tests can plant a duplicate and a loss.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

SETTLED = frozenset({"sent", "failed", "in_doubt", "skipped", "bounced"})
INTERRUPTED = "interrupted"  # doubts caused by killed processes; all others come from broken connections


@dataclass(frozen=True)
class DrillRow:
    """The installation's state of one recipient."""

    email: str
    status: str
    reason: str = ""
    reply: str = ""
    attempts: int = 1


@dataclass(frozen=True)
class Allowed:
    """How many emails may be in doubt: those that were handed over and unanswered."""

    at_kills: int = 0
    at_drops: int = 0


@dataclass(frozen=True)
class Findings:
    """Result of the comparison."""

    recipients: int
    sent: int
    failed: Mapping[str, int]  # reason with the server's code -> recipients
    skipped: int
    lost: tuple[str, ...]  # without a final state, or sent and the server has nothing
    twice: tuple[str, ...]
    denied: tuple[str, ...]  # counted as not sent, and the server has their email
    in_doubt: int
    in_doubt_had: int  # of these the server has the email
    interrupted: int  # of these a killed process left
    late: int  # sent, but not at the first attempt
    allowed: Allowed = field(default_factory=Allowed)

    @property
    def doubts_explained(self) -> bool:
        """Whether everything in doubt was being sent when something broke."""
        dropped = self.in_doubt - self.interrupted
        return self.interrupted <= self.allowed.at_kills and dropped <= self.allowed.at_drops

    @property
    def held(self) -> bool:
        """Whether nothing was lost, sent twice or denied, and every doubt is explained."""
        return not self.lost and not self.twice and not self.denied and self.doubts_explained


def judge(
    addresses: Collection[str], rows: Iterable[DrillRow], taken: Iterable[str], allowed: Allowed
) -> Findings:
    """Compare ``addresses``, who were to get an email, with ``taken``.

    ``taken`` are the recipients of all emails that the server accepted, one entry per email.
    """
    had = Counter(taken)
    known = {row.email: row for row in rows}
    doubtful = [row for row in known.values() if row.status == "in_doubt"]
    sent = [row for row in known.values() if row.status in ("sent", "bounced")]
    failed = Counter(_why(row) for row in known.values() if row.status == "failed")
    return Findings(
        recipients=len(addresses),
        sent=len(sent),
        failed=dict(failed.most_common()),
        skipped=sum(row.status == "skipped" for row in known.values()),
        lost=tuple(sorted(email for email in addresses if _is_lost(known.get(email), had[email]))),
        twice=tuple(sorted(email for email, emails in had.items() if emails > 1)),
        denied=tuple(
            sorted(
                row.email for row in known.values() if row.status in ("failed", "skipped") and had[row.email]
            )
        ),
        in_doubt=len(doubtful),
        in_doubt_had=sum(had[row.email] > 0 for row in doubtful),
        interrupted=sum(row.reason == INTERRUPTED for row in doubtful),
        late=sum(row.attempts > 1 for row in sent),
        allowed=allowed,
    )


def _is_lost(row: DrillRow | None, emails: int) -> bool:
    if row is None or row.status not in SETTLED:
        return True
    return row.status == "sent" and not emails


def _why(row: DrillRow) -> str:
    code = " ".join(row.reply.split()[:2])
    return f"{row.reason} {code}".strip()
