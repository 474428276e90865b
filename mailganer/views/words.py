"""The words for states, with their tone and icon: one list for every badge of every page."""

from dataclasses import dataclass

from mailganer.errors import _


@dataclass(frozen=True)
class Word:
    """How a state is shown: never by colour alone."""

    text: str
    tone: str  # good, wait, bad, news, calm
    icon: str


_WORDS = {
    # campaigns
    "draft": Word(_("Draft"), "calm", "draft"),
    "scheduled": Word(_("Scheduled"), "news", "calendar"),
    "sending": Word(_("Sending"), "news", "campaigns"),
    "paused": Word(_("Paused"), "wait", "pause"),
    "finished": Word(_("Finished"), "good", "done"),
    "cancelled": Word(_("Cancelled"), "calm", "stop"),
    # deliveries
    "pending": Word(_("Waiting"), "calm", "clock"),
    "sent": Word(_("Sent"), "good", "check"),
    "failed": Word(_("Not sent"), "bad", "problem"),
    "in_doubt": Word(_("In doubt"), "wait", "question"),
    "skipped": Word(_("Left out"), "calm", "skip"),
    "bounced": Word(_("Came back"), "bad", "undo"),
    # people
    "active": Word(_("Gets letters"), "good", "check"),
    "unconfirmed": Word(_("Not confirmed yet"), "wait", "clock"),
    "unsubscribed": Word(_("Unsubscribed"), "calm", "leave"),
    "complained": Word(_("Complained"), "bad", "warning"),
    # senders
    "ready": Word(_("Ready"), "good", "done"),
    "sleeping": Word(_("Resting"), "wait", "sleep"),
    "failing": Word(_("Needs a look"), "bad", "warning"),
    # imports
    "reading": Word(_("Reading"), "news", "clock"),
    "applying": Word(_("Bringing in"), "news", "upload"),
    "done": Word(_("Done"), "good", "done"),
    "undone": Word(_("Undone"), "calm", "undo"),
}

_ELSEWHERE = {
    ("subscriber", "bounced"): Word(_("Cannot be reached"), "bad", "problem"),
    ("import", "ready"): Word(_("Ready to bring in"), "news", "eye"),
    ("import", "failed"): Word(_("Could not be read"), "bad", "problem"),
}


# The same of several people, beside their number.
_GROUPS = {
    "active": _("Get letters"),
    "unconfirmed": _("Have not confirmed yet"),
    "unsubscribed": _("Have unsubscribed"),
    "bounced": _("Are out of reach"),
    "complained": _("Called a letter spam"),
}


def group_word(status: str) -> str:
    """What is so of all the people in one state."""
    return _GROUPS[str(status)]


def state_word(state: str, subject: str = "") -> Word:
    """The word for a state; ``subject`` tells words apart that mean two things."""
    return _ELSEWHERE.get((subject, str(state))) or _WORDS.get(str(state)) or Word(str(state), "calm", "info")
