"""What fails while the drill's mail server receives one email."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

STAGES = ("mail", "rcpt", "data", "content", "dot", "taken", "answered")
CUT = 0.02  # of the emails at most
PUT_OFF = 0.02  # of the emails: this recipient, later
REFUSED = 0.01  # of the emails: this recipient, never
SLOW, SLOWEST = 0.003, 0.5  # of the emails; seconds
LATER = {
    "mail": ("452 4.3.1 Insufficient system storage", "451 4.3.0 Try again later"),
    "rcpt": ("450 4.2.1 The user is receiving mail too quickly", "452 4.2.2 Mailbox full"),
    "dot": ("451 4.3.0 Could not be queued", "452 4.3.1 Insufficient system storage"),
}
NEVER = {
    "rcpt": ("550 5.1.1 No such user", "550 5.2.1 Mailbox disabled"),
    "dot": ("550 5.7.1 Looks unwanted", "550 5.6.0 Not understood"),
}
# No text about pace: a sender that is asked to slow down does so, and at random it would soon be very slow.
BUSY = "421 4.3.2 Service shutting down, closing connection"


@dataclass(frozen=True)
class EmailFaults:
    """Faults of one email: at which stage the connection breaks, or which of them gets a bad answer."""

    cut_at: str = ""
    busy_at: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds


def draw_faults(chance: Random, cut: float) -> EmailFaults:
    """Return the faults of the next email. ``cut`` is the share of emails at which the connection breaks."""
    cut_at = busy_at = ""
    if chance.random() < cut:
        cut_at = chance.choice(STAGES)
    elif chance.random() < cut / 2:
        busy_at = chance.choice(("mail", "rcpt", "data", "dot"))
    answers = {}
    for share, table in ((PUT_OFF, LATER), (REFUSED, NEVER)):
        if chance.random() < share:
            stage = chance.choice(sorted(table))
            # A failure of the server itself makes the sender wait, as a broken connection does, so it must be
            # rare.
            if stage != "mail" or chance.random() < cut / CUT:
                answers[stage] = chance.choice(table[stage])
    delay = chance.uniform(0, SLOWEST) if chance.random() < SLOW else 0.0
    return EmailFaults(cut_at, busy_at, answers, delay)
