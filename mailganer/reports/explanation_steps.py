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
    ExplanationCode.unknown: _("No subscriber has the address ${address}."),
    ExplanationCode.forgotten: _(
        "The address is blocked: ${cause}. Importing or editing the subscriber does not unblock it."
    ),
    ExplanationCode.erased: _("This recipient was deleted, and their data was erased."),
    ExplanationCode.moved: _("The recipient's address is now ${address}."),
    ExplanationCode.on_list: _("In the list “${lists}” since ${since}."),
    ExplanationCode.one_letter: _("In several lists of this campaign, but gets only one email."),
    ExplanationCode.off_lists: _("In none of the lists of this campaign: ${lists}."),
    ExplanationCode.left_lists: _(
        "Was in a list of this campaign when its recipients were selected, but is in none of them now."
    ),
    ExplanationCode.lists_deleted: _("The lists of this campaign have been deleted."),
    ExplanationCode.no_lists: _("The campaign has no list yet."),
    ExplanationCode.draft: _("The campaign is a draft. Nothing is sent until it is started."),
    ExplanationCode.scheduled: _("The campaign starts on ${until}."),
    ExplanationCode.undoable: _("The campaign starts on ${until}; until then it can be undone."),
    ExplanationCode.starting: _("The campaign is about to start."),
    ExplanationCode.gathering: _("The campaign has started, and its recipients are being selected."),
    ExplanationCode.late: _("The campaign has not started and is waiting for your decision. ${words}"),
    ExplanationCode.would_get: _("As of now, this recipient will get the email."),
    ExplanationCode.would_not_get: _("As of now, this recipient will not get the email: ${cause}."),
    ExplanationCode.gathered: _("The recipients of this campaign were selected on ${since}."),
    ExplanationCode.planned: _("An email to ${address} was planned on ${since}."),
    ExplanationCode.excluded: _("No email was planned: ${cause}."),
    ExplanationCode.joined_later: _(
        "No email was planned: added to the list “${lists}” on ${since}, after the "
        "recipients had been selected."
    ),
    ExplanationCode.back_later: _(
        "No email was planned: subscribed again on ${since}, after the recipients had been selected."
    ),
    ExplanationCode.same_address: _(
        "No email was planned: the campaign already has an email to the same address, which "
        "belonged to another subscriber before."
    ),
    ExplanationCode.state_changed: _(
        "No email was planned. The reason is no longer known, because the subscriber's "
        "status changed on ${since}."
    ),
    ExplanationCode.not_planned: _("No email to this recipient was planned."),
    ExplanationCode.stopped_before: _(
        "The campaign was cancelled on ${since}, before an email to this recipient was planned."
    ),
    ExplanationCode.waited_quota: _(
        "Waited until ${until} for ${sender}, which had reached its limit for 24 hours."
    ),
    ExplanationCode.waited_trouble: _(
        "Waited until ${until} for the server of ${sender}, which could not be reached or asked to wait."
    ),
    ExplanationCode.waited_failing: _("From ${since}, ${sender} could not send until its problem was fixed."),
    ExplanationCode.waited_plan: _(
        "Waited until ${until} because your plan's limit for 24 hours was reached."
    ),
    ExplanationCode.waited_paused: _("Waited until ${until}: the campaign was paused by a user."),
    ExplanationCode.waited_halted: _("Waited until ${until}: the campaign was paused because of a problem."),
    ExplanationCode.waited_hours: _("Waited until ${until} for the sending hours."),
    ExplanationCode.paused: _("The campaign is paused. Nothing is sent until it is resumed."),
    ExplanationCode.halted: _("The campaign is paused because of a problem. ${words}"),
    ExplanationCode.stopping: _("The campaign was cancelled on ${since}, so this email will not be sent."),
    ExplanationCode.to_be_left_out: _("Will be skipped: ${cause}."),
    ExplanationCode.hours: _("Waiting for the sending hours, which start on ${until}."),
    ExplanationCode.quota: _(
        "Waiting until ${until} for ${sender}, which has reached its limit for 24 hours."
    ),
    ExplanationCode.resting: _("Waiting for ${sender}, which resumes on ${until}."),
    ExplanationCode.trouble: _("Waiting for the server of ${sender}. Next attempt on ${until}. ${words}"),
    ExplanationCode.failing: _("${sender} cannot send until its problem is fixed. ${words}"),
    ExplanationCode.plan: _(
        "Waiting until ${until}, because your plan allows ${number} emails per 24 hours."
    ),
    ExplanationCode.put_off: _("The server deferred the email. Next attempt not before ${until}."),
    ExplanationCode.due_again: _("The server deferred the email, and it is due again."),
    ExplanationCode.came_to_nothing: _("An earlier attempt failed."),
    ExplanationCode.turn: _("Waiting in the queue. Emails that may be sent before it: ${number}."),
    ExplanationCode.next: _("No other email of this campaign is ahead of it."),
    ExplanationCode.sending: _("Being sent right now through ${sender}."),
    ExplanationCode.returned: _(
        "Returned to the queue on ${since}: the rejection did not seem to concern this recipient."
    ),
    ExplanationCode.tries: _("Attempts: ${number}, the first on ${since}."),
    ExplanationCode.version: _("This was version ${number} of the email."),
    ExplanationCode.accepted: _("The server of ${sender} accepted the email on ${since}."),
    ExplanationCode.counts_as_sent: _("Was in doubt. ${by} marked it as sent on ${since}."),
    ExplanationCode.said_again: _("Was in doubt. ${by} decided on ${since} to resend it."),
    ExplanationCode.looked_up: _(
        "Was in doubt. The server of ${sender} confirmed on ${since} that it has the email."
    ),
    ExplanationCode.not_there: _(
        "Was in doubt. The server of ${sender} reported on ${since} that it does not have "
        "the email, so it is sent again."
    ),
    ExplanationCode.in_hand: _(
        "The email was sent through ${sender} and delivered. The server's reply was not kept."
    ),
    ExplanationCode.unanswered: _("The email was sent through ${sender}. The server's reply was not kept."),
    ExplanationCode.refused: _("The server of ${sender} permanently rejected the email on ${since}."),
    ExplanationCode.expired: _(
        "The server deferred the email for a whole day. Attempts stopped on ${since}."
    ),
    ExplanationCode.not_sent: _("The email was not accepted."),
    ExplanationCode.interrupted: _(
        "Passed to the server through ${sender}, but sending was interrupted on ${since} "
        "before the server replied."
    ),
    ExplanationCode.disconnected: _(
        "Passed to the server through ${sender}, but the connection was lost on ${since} "
        "before the server replied."
    ),
    ExplanationCode.in_doubt: _("It is not known whether it was delivered."),
    ExplanationCode.to_be_looked_up: _(
        "On ${until}, Mailganer asks the server of ${sender} whether it has the email. It is resent "
        "only if the server does not have it, or if you decide so."
    ),
    ExplanationCode.your_word: _("It is not sent again without your decision."),
    ExplanationCode.left_out: _("Skipped on ${since}: ${cause}."),
    ExplanationCode.stopped: _("Skipped on ${since}: the campaign was cancelled."),
    ExplanationCode.opened: _("Opened the email, first on ${since}."),
    ExplanationCode.opened_possibly: _(
        "Possibly opened the email, first on ${since}: a privacy proxy loaded it."
    ),
    ExplanationCode.opened_by_machine: _("Opened only by software so far."),
    ExplanationCode.not_opened: _("No opens so far."),
    ExplanationCode.opens_not_counted: _("This campaign does not count opens."),
    ExplanationCode.clicked: _("Clicked a link, first on ${since}. Clicks: ${number}."),
    ExplanationCode.unsubscribed: _("Unsubscribed through this email on ${since}."),
    ExplanationCode.resubscribed: _("Subscribed again on ${since}."),
    ExplanationCode.bounced: _("The email bounced on ${since}."),
    ExplanationCode.complained: _("Marked the email as spam on ${since}."),
}

_SEVERAL: Mapping[ExplanationCode, str] = {
    ExplanationCode.waited_quota: _(
        "Waited for ${sender}, which had reached its limit for 24 hours. Waits: ${number}, "
        "the last until ${until}."
    ),
    ExplanationCode.waited_trouble: _(
        "Waited for the server of ${sender}, which could not be reached or asked to wait. "
        "Waits: ${number}, the last until ${until}."
    ),
    ExplanationCode.waited_failing: _(
        "${sender} could not send until its problem was fixed. Times: ${number}, the last from ${since}."
    ),
    ExplanationCode.waited_plan: _(
        "Waited because your plan's limit for 24 hours was reached. Waits: ${number}, the "
        "last until ${until}."
    ),
    ExplanationCode.waited_paused: _(
        "Waited while the campaign was paused by a user. Waits: ${number}, the last until ${until}."
    ),
    ExplanationCode.waited_halted: _(
        "Waited while the campaign was paused because of a problem. Waits: ${number}, the "
        "last until ${until}."
    ),
    ExplanationCode.waited_hours: _(
        "Waited for the sending hours. Waits: ${number}, the last until ${until}."
    ),
}
"""Sentences for events that happened more than once."""

_LESS: Mapping[ExplanationCode, str] = {
    ExplanationCode.planned: _("An email was planned on ${since}."),
    ExplanationCode.tries: _("Attempts: ${number}."),
    ExplanationCode.bounced: _("The email bounced."),
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
    Reason.bounced: _("undeliverable"),
    Reason.complained: _("marked an email as spam"),
    Reason.unconfirmed: _("subscription not confirmed"),
    Reason.erased: _("subscriber deleted"),
    Reason.render_error: _("the email could not be rendered with this recipient's data"),
    Reason.address: _("the address is not valid"),
}

_SINCE: Mapping[Reason, str] = {
    Reason.unsubscribed: _("unsubscribed on ${since}"),
    Reason.bounced: _("undeliverable on ${since}"),
    Reason.complained: _("marked an email as spam on ${since}"),
}
"""Sentences with the date since when the cause applies."""

_HOW: Mapping[UnsubscribeMethod, str] = {
    UnsubscribeMethod.email: _("unsubscribed on ${since} through an email of “${campaign}”"),
    UnsubscribeMethod.hand: _("emails were blocked manually on ${since}"),
    UnsubscribeMethod.program: _("emails were blocked by a program on ${since}"),
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
            "cause": _cause_sentence(self.cause, format_datetime) if self.cause else "",
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


def _cause_sentence(cause: SuppressionCause, format_datetime: Callable[[datetime], str]) -> TranslationString:
    if cause.since is None or cause.reason not in _SINCE:
        return _(_CAUSES[cause.reason])
    text = _HOW[cause.how] if cause.how else _SINCE[cause.reason]
    return _(text, mapping={"since": format_datetime(cause.since), "campaign": cause.campaign})
