"""Steps of an explanation ("why?"): a code and a sentence for each fact about a subscriber and a campaign.

A step holds plain values. Its sentence is made where it is displayed, because only there language, time zone
and number format are known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from translationstring import TranslationString

from ..errors import _
from ..models import Reason


class ExplanationCode(StrEnum):
    """Code of a step. Part of the API: do not rename."""

    # subscriber
    unknown = "unknown"  # no subscriber of this account has the address
    forgotten = "forgotten"  # unknown, and the address is suppressed
    erased = "erased"
    moved = "moved"  # has another address now
    # lists
    on_list = "on_list"
    one_letter = "one_letter"  # on several of the campaign's lists
    off_lists = "off_lists"
    left_lists = "left_lists"  # was on one during planning
    lists_deleted = "lists_deleted"
    no_lists = "no_lists"
    # before the start
    draft = "draft"
    scheduled = "scheduled"
    undoable = "undoable"
    starting = "starting"
    gathering = "gathering"
    late = "late"
    would_get = "would_get"
    would_not_get = "would_not_get"
    # planning
    gathered = "gathered"
    planned = "planned"
    excluded = "excluded"  # for a cause that applied during planning
    joined_later = "joined_later"
    back_later = "back_later"
    same_address = "same_address"
    state_changed = "state_changed"
    not_planned = "not_planned"  # for a reason that is not recorded
    stopped_before = "stopped_before"
    # past waits
    waited_quota = "waited_quota"
    waited_trouble = "waited_trouble"
    waited_failing = "waited_failing"
    waited_plan = "waited_plan"
    waited_paused = "waited_paused"
    waited_halted = "waited_halted"
    waited_hours = "waited_hours"
    # current waits
    paused = "paused"
    halted = "halted"
    stopping = "stopping"
    to_be_left_out = "to_be_left_out"
    hours = "hours"
    quota = "quota"
    resting = "resting"  # for a reason that is not recorded
    trouble = "trouble"
    failing = "failing"
    plan = "plan"
    put_off = "put_off"
    due_again = "due_again"
    came_to_nothing = "came_to_nothing"
    turn = "turn"
    next = "next"
    sending = "sending"
    # result of sending
    returned = "returned"  # to the queue: the server's reply did not concern this recipient
    tries = "tries"
    version = "version"
    accepted = "accepted"
    counts_as_sent = "counts_as_sent"
    said_again = "said_again"
    looked_up = "looked_up"
    not_there = "not_there"
    in_hand = "in_hand"
    unanswered = "unanswered"
    refused = "refused"
    expired = "expired"
    not_sent = "not_sent"
    interrupted = "interrupted"
    disconnected = "disconnected"
    in_doubt = "in_doubt"
    to_be_looked_up = "to_be_looked_up"
    your_word = "your_word"
    left_out = "left_out"
    stopped = "stopped"
    # recipient's reactions
    opened = "opened"
    opened_possibly = "opened_possibly"
    opened_by_machine = "opened_by_machine"
    not_opened = "not_opened"
    opens_not_counted = "opens_not_counted"
    clicked = "clicked"
    unsubscribed = "unsubscribed"
    resubscribed = "resubscribed"
    bounced = "bounced"
    complained = "complained"


_SENTENCES: Mapping[ExplanationCode, str] = {
    ExplanationCode.unknown: _("Nobody among your people has the address ${address}."),
    ExplanationCode.forgotten: _(
        "The address is kept as one that gets no more emails: ${cause}. No file and no form brings it back."
    ),
    ExplanationCode.erased: _("This person was deleted; who it was is not kept."),
    ExplanationCode.moved: _("This person's address is ${address} now."),
    ExplanationCode.on_list: _("On the list “${lists}” since ${since}."),
    ExplanationCode.one_letter: _("On several lists of this campaign, and one email all the same."),
    ExplanationCode.off_lists: _("On none of the lists of this campaign: ${lists}."),
    ExplanationCode.left_lists: _(
        "Was on a list of this campaign when its people were gathered, and is on none of them now."
    ),
    ExplanationCode.lists_deleted: _("The lists of this campaign have been deleted."),
    ExplanationCode.no_lists: _("The campaign has no list yet."),
    ExplanationCode.draft: _("The campaign is a draft: nothing leaves before somebody starts it."),
    ExplanationCode.scheduled: _("The campaign starts on ${until}."),
    ExplanationCode.undoable: _("The campaign starts on ${until}; until then it can be undone."),
    ExplanationCode.starting: _("The campaign is about to start."),
    ExplanationCode.gathering: _("The campaign has started, and its people are being gathered."),
    ExplanationCode.late: _("The campaign has not started and waits for your word. ${words}"),
    ExplanationCode.would_get: _("As things stand, this person gets the email."),
    ExplanationCode.would_not_get: _("As things stand, this person gets no email: ${cause}."),
    ExplanationCode.gathered: _("The people of this campaign were gathered on ${since}."),
    ExplanationCode.planned: _("An email to ${address} was planned on ${since}."),
    ExplanationCode.excluded: _("No email was planned: ${cause}."),
    ExplanationCode.joined_later: _(
        "No email was planned: came onto the list “${lists}” on ${since}, after the people had been gathered."
    ),
    ExplanationCode.back_later: _(
        "No email was planned: this person gets emails again only since ${since}, after the people had "
        "been gathered."
    ),
    ExplanationCode.same_address: _(
        "No email was planned: the campaign has one to the same address already, for "
        "somebody who had it before."
    ),
    ExplanationCode.state_changed: _(
        "No email was planned. Why is no longer on record: this person's state has changed "
        "since, on ${since}."
    ),
    ExplanationCode.not_planned: _("No email to this person was planned."),
    ExplanationCode.stopped_before: _(
        "The campaign was stopped on ${since}, before an email to this person was planned."
    ),
    ExplanationCode.waited_quota: _(
        "Waited until ${until} for ${sender}, which had sent all it may in 24 hours."
    ),
    ExplanationCode.waited_trouble: _(
        "Waited until ${until} for the server of ${sender}, which could not be reached or asked to wait."
    ),
    ExplanationCode.waited_failing: _(
        "From ${since} on ${sender} could send nothing until somebody had looked at it."
    ),
    ExplanationCode.waited_plan: _(
        "Waited until ${until} for your plan, whose emails of 24 hours were used up."
    ),
    ExplanationCode.waited_paused: _("Waited until ${until}: the campaign was paused by somebody."),
    ExplanationCode.waited_halted: _(
        "Waited until ${until}: the campaign had been paused because something was wrong."
    ),
    ExplanationCode.waited_hours: _("Waited until ${until} for the sending hours."),
    ExplanationCode.paused: _("The campaign is paused: nothing leaves until somebody lets it go on."),
    ExplanationCode.halted: _("The campaign is paused because something is wrong. ${words}"),
    ExplanationCode.stopping: _("The campaign was stopped on ${since}: this email does not leave any more."),
    ExplanationCode.to_be_left_out: _("Will be left out when the email's turn comes: ${cause}."),
    ExplanationCode.hours: _("Waits for the sending hours, which begin on ${until}."),
    ExplanationCode.quota: _("Waits for ${sender}, which has sent all it may in 24 hours, until ${until}."),
    ExplanationCode.resting: _("Waits for ${sender}, which rests until ${until}."),
    ExplanationCode.trouble: _(
        "Waits for the server of ${sender}, which is tried again on ${until}. ${words}"
    ),
    ExplanationCode.failing: _("${sender} can send nothing until somebody looks at it. ${words}"),
    ExplanationCode.plan: _(
        "Waits for your plan, which allows ${number} emails in 24 hours, until ${until}."
    ),
    ExplanationCode.put_off: _("The server put the email off; it is not tried again before ${until}."),
    ExplanationCode.due_again: _("The server had put the email off; it is due again."),
    ExplanationCode.came_to_nothing: _("An earlier try came to nothing."),
    ExplanationCode.turn: _("Its turn has not come. Emails that may leave before it: ${number}."),
    ExplanationCode.next: _("No other letter of this campaign waits before it."),
    ExplanationCode.sending: _("Is on its way right now, through ${sender}."),
    ExplanationCode.returned: _(
        "Put back in the queue on ${since}: the server's refusal did not seem to be about this recipient."
    ),
    ExplanationCode.tries: _("Tries: ${number}, the first on ${since}."),
    ExplanationCode.version: _("It was version ${number} of the email."),
    ExplanationCode.accepted: _("The server of ${sender} took the email on ${since}."),
    ExplanationCode.counts_as_sent: _("Was in doubt, and counts as sent since ${since}: ${by} said so."),
    ExplanationCode.said_again: _("Was in doubt, and ${by} said on ${since} to send it again."),
    ExplanationCode.looked_up: _("Was in doubt. Asked on ${since}, the server of ${sender} had the email."),
    ExplanationCode.not_there: _(
        "Was in doubt. Asked on ${since}, the server of ${sender} had no such email, so it is sent again."
    ),
    ExplanationCode.in_hand: _(
        "The email left through ${sender} and has arrived; the server's own answer was not kept."
    ),
    ExplanationCode.unanswered: _("The email left through ${sender}; the server's own answer was not kept."),
    ExplanationCode.refused: _("The server of ${sender} refused the email for good on ${since}."),
    ExplanationCode.expired: _("The server put the email off for a whole day; it was given up on ${since}."),
    ExplanationCode.not_sent: _("The email was not taken."),
    ExplanationCode.interrupted: _(
        "Handed over through ${sender}, and on ${since} the sending was interrupted before "
        "the server's answer came."
    ),
    ExplanationCode.disconnected: _(
        "Handed over through ${sender}, and on ${since} the connection broke before the server's answer came."
    ),
    ExplanationCode.in_doubt: _("Nobody knows whether it arrived."),
    ExplanationCode.to_be_looked_up: _(
        "The server of ${sender} is asked about it on ${until}. It is sent again only if that server has no "
        "such email, or if you say so."
    ),
    ExplanationCode.your_word: _("It is not sent again unless you say so."),
    ExplanationCode.left_out: _("Left out on ${since}, when the email's turn came: ${cause}."),
    ExplanationCode.stopped: _("Left out on ${since}: the campaign had been stopped."),
    ExplanationCode.opened: _("Opened the email, first on ${since}."),
    ExplanationCode.opened_possibly: _(
        "Possibly opened the email, first on ${since}: a privacy proxy fetched it."
    ),
    ExplanationCode.opened_by_machine: _("Only a machine has fetched the email so far."),
    ExplanationCode.not_opened: _("No opening has been counted so far."),
    ExplanationCode.opens_not_counted: _("This campaign does not count opens."),
    ExplanationCode.clicked: _("Followed a link, first on ${since}. Clicks: ${number}."),
    ExplanationCode.unsubscribed: _("Unsubscribed by this email on ${since}."),
    ExplanationCode.resubscribed: _("Took the unsubscribing back on ${since}."),
    ExplanationCode.bounced: _("The email came back on ${since}."),
    ExplanationCode.complained: _("Called the email spam on ${since}."),
}

_SEVERAL: Mapping[ExplanationCode, str] = {
    ExplanationCode.waited_quota: _(
        "Waited for ${sender}, which had sent all it may in 24 hours. Such waits: ${number}, "
        "the last until ${until}."
    ),
    ExplanationCode.waited_trouble: _(
        "Waited for the server of ${sender}, which could not be reached or asked to wait. Such waits: "
        "${number}, the last until ${until}."
    ),
    ExplanationCode.waited_failing: _(
        "${sender} could send nothing until somebody had looked at it. Such times: ${number}, the last from "
        "${since} on."
    ),
    ExplanationCode.waited_plan: _(
        "Waited for your plan, whose emails of 24 hours were used up. Such waits: ${number}, the last until "
        "${until}."
    ),
    ExplanationCode.waited_paused: _(
        "Waited while the campaign was paused by somebody. Such waits: ${number}, the last until ${until}."
    ),
    ExplanationCode.waited_halted: _(
        "Waited while the campaign was paused because something was wrong. Such waits: ${number}, the last "
        "until ${until}."
    ),
    ExplanationCode.waited_hours: _(
        "Waited for the sending hours. Such waits: ${number}, the last until ${until}."
    ),
}
"""Sentences for events that happened more than once."""

_LESS: Mapping[ExplanationCode, str] = {
    ExplanationCode.planned: _("An email was planned on ${since}."),
    ExplanationCode.tries: _("Tries: ${number}."),
    ExplanationCode.bounced: _("The email came back."),
}
"""Sentences for steps with fewer known values: no address or no first time."""

_REMOVED = _("a removed sender")


class UnsubscribeMethod(StrEnum):
    """How a subscriber unsubscribed."""

    email = "letter"
    hand = "hand"
    program = "program"


_CAUSES: Mapping[Reason, str] = {
    Reason.unsubscribed: _("unsubscribed"),
    Reason.bounced: _("the address could not be reached"),
    Reason.complained: _("called an email spam"),
    Reason.unconfirmed: _("the subscription is not confirmed"),
    Reason.erased: _("the person was deleted"),
    Reason.render_error: _("the email could not be made with this person's data"),
    Reason.address: _("no email can be sent to such an address"),
}

_SINCE: Mapping[Reason, str] = {
    Reason.unsubscribed: _("unsubscribed on ${since}"),
    Reason.bounced: _("the address could not be reached on ${since}"),
    Reason.complained: _("called an email spam on ${since}"),
}
"""Sentences with the date since when the cause applies."""

_HOW: Mapping[UnsubscribeMethod, str] = {
    UnsubscribeMethod.email: _("unsubscribed on ${since} by an email of “${campaign}”"),
    UnsubscribeMethod.hand: _("emails to this person were stopped by hand on ${since}"),
    UnsubscribeMethod.program: _("emails to this person were stopped by a program on ${since}"),
}


@dataclass(frozen=True)
class SuppressionCause:
    """Why a subscriber is left out, and since when, if known."""

    reason: Reason
    since: datetime | None = None
    how: UnsubscribeMethod | None = None
    campaign: str = ""  # whose email they unsubscribed from
    reply: str = ""  # of the server about the address


@dataclass(frozen=True)
class ExplanationStep:
    """One event, condition or wait. Values that do not apply are empty."""

    code: ExplanationCode
    since: datetime | None = None  # when it happened or began
    until: datetime | None = None  # the end of the wait
    lists: tuple[str, ...] = ()
    sender: str = ""  # the sender's address
    address: str = ""
    cause: SuppressionCause | None = None
    by: str = ""  # the user who decided
    number: int | None = None
    words: str = ""  # our text, to be translated
    reply: str = ""  # of the server
    message_id: str = ""

    @property
    def at(self) -> datetime | None:
        """Return the time of the step, for sorting."""
        return self.until if self.code.startswith("waited_") and self.until else self.since

    def sentence(
        self, format_datetime: Callable[[datetime], str], number: Callable[[int], str] = str
    ) -> TranslationString:
        """Return the sentence, to be translated; ``format_datetime`` and ``number`` format its values."""
        values = {
            "since": format_datetime(self.since) if self.since else "",
            "until": format_datetime(self.until) if self.until else "",
            "lists": ", ".join(self.lists),
            "sender": self.sender or _REMOVED,
            "address": self.address,
            "cause": _cause_words(self.cause, format_datetime) if self.cause else "",
            "by": self.by,
            "number": "" if self.number is None else number(self.number),
            "words": self.words,
        }
        return _(self._text(), mapping=values)

    def _text(self) -> str:
        if self.code in _SEVERAL and (self.number or 0) > 1:
            return _SEVERAL[self.code]
        if self.code in _LESS and not (self.address if self.code is ExplanationCode.planned else self.since):
            return _LESS[self.code]
        return _SENTENCES[self.code]

    def details(self) -> dict[str, Any]:
        """Return the known values for the API, with datetimes as they are."""
        known: dict[str, Any] = {
            "since": self.since,
            "until": self.until,
            "lists": list(self.lists),
            "sender": self.sender,
            "address": self.address,
            "by": self.by,
            "number": self.number,
            "words": self.words,
            "reply": self.reply or (self.cause.reply if self.cause else ""),
            "message_id": self.message_id,
        }
        if self.cause:
            known |= {"reason": self.cause.reason, "campaign": self.cause.campaign}
            known["since"] = self.since or self.cause.since
        return {name: value for name, value in known.items() if value not in ("", None, [])}


def _cause_words(cause: SuppressionCause, format_datetime: Callable[[datetime], str]) -> TranslationString:
    if cause.since is None or cause.reason not in _SINCE:
        return _(_CAUSES[cause.reason])
    text = _HOW[cause.how] if cause.how else _SINCE[cause.reason]
    return _(text, mapping={"since": format_datetime(cause.since), "campaign": cause.campaign})
