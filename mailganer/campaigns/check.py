"""What would go wrong if a campaign were sent: everything, at once, each with its one next step.

Nothing is changed by looking. ``blocking`` problems keep a campaign from being scheduled; warnings are told
and left to the person.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import Session

from .. import letters
from ..audience.fields import likely_field
from ..audience.recipients import recipient_count
from ..backends import Registry
from ..errors import LetterError, _
from ..models import Campaign, Sender, SenderStatus
from ..settings import Settings
from .content import Look, look_at
from .forecast import Forecast, Wait
from .preview import preview, sample_reader
from .prospects import forecast, usable_sender
from .variables import Origin, VariableUse, variable_uses
from .versions import compile_of

FREE_MAIL = frozenset(
    (
        *(
            "gmail.com",
            "googlemail.com",
            "outlook.com",
            "hotmail.com",
            "yahoo.com",
            "icloud.com",
            "proton.me",
        ),
        *("yandex.ru", "ya.ru", "mail.ru", "bk.ru", "inbox.ru", "list.ru", "rambler.ru"),
    )
)


class Step(StrEnum):
    """Where a problem is solved."""

    people = "people"
    letter = "letter"
    when = "when"
    senders = "senders"
    plan = "plan"
    lists = "lists"  # the people themselves


class Severity(StrEnum):
    blocking = "blocking"  # nothing goes out before this is solved
    warning = "warning"  # readers, or their mail programs, will not like it
    note = "note"  # good to know


@dataclass(frozen=True)
class Problem:
    """One finding. ``step`` says where it is solved and ``action`` what the button there says."""

    code: str
    message: str
    severity: Severity
    step: Step
    action: str
    field: str = ""  # the part of the letter
    line: int | None = None

    @property
    def blocking(self) -> bool:
        return self.severity is Severity.blocking


@dataclass(frozen=True)
class Check:
    """What is known about a campaign before it is sent."""

    problems: tuple[Problem, ...]
    audience: int
    variables: tuple[VariableUse, ...]
    forecast: Forecast
    passed: tuple[str, ...]  # what was looked at and is fine, a sentence each
    look: Look | None = None
    shown: letters.Rendered | None = None  # as its first reader gets it

    @property
    def ok(self) -> bool:
        return not self.blocking

    @property
    def blocking(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.blocking)

    @property
    def open(self) -> tuple[Problem, ...]:
        """What a person should look at: everything but notes."""
        return tuple(problem for problem in self.problems if problem.severity is not Severity.note)

    @property
    def notes(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity is Severity.note)


def check(
    session: Session,
    campaign: Campaign,
    *,
    settings: Settings,
    registry: Registry,
    now: datetime,
    send_at: datetime | None = None,
) -> Check:
    """Looks at people, letter, senders, variables and limits. Raises nothing: what is wrong is a problem."""
    looking = _Looking(session, campaign, settings, registry, now, send_at or campaign.send_at)
    looking.at_people()
    looking.at_letter()
    looking.at_senders()
    looking.at_time()
    order = list(Severity)
    return Check(
        problems=tuple(sorted(looking.problems, key=lambda problem: order.index(problem.severity))),
        audience=looking.audience,
        variables=looking.variables,
        forecast=looking.forecast,
        passed=tuple(looking.passed),
        look=looking.look,
        shown=looking.shown,
    )


class _Looking:
    """One check under way: a list that grows."""

    def __init__(
        self,
        session: Session,
        campaign: Campaign,
        settings: Settings,
        registry: Registry,
        now: datetime,
        send_at: datetime | None,
    ) -> None:
        self.session, self.campaign, self.settings, self.registry = session, campaign, settings, registry
        self.now, self.send_at = now, send_at
        self.problems: list[Problem] = []
        self.passed: list[str] = []
        self.audience = 0
        self.variables: tuple[VariableUse, ...] = ()
        self.look: Look | None = None
        self.shown: letters.Rendered | None = None
        self.list_ids = [each.id for each in campaign.lists]

    def say(self, severity: Severity, code: str, message: str, step: Step, action: str, **more: Any) -> None:
        self.problems.append(Problem(code, message, severity, step, action, **more))

    def block(self, code: str, message: str, step: Step, action: str, **more: Any) -> None:
        self.say(Severity.blocking, code, message, step, action, **more)

    def warn(self, code: str, message: str, step: Step, action: str, **more: Any) -> None:
        self.say(Severity.warning, code, message, step, action, **more)

    # --- people

    def at_people(self) -> None:
        if not self.list_ids:
            self.block(
                "no_list",
                _("No list is chosen: nobody would get this letter."),
                Step.people,
                _("Choose lists"),
            )
            return
        self.audience = recipient_count(self.session, self.campaign.account_id, self.list_ids)
        if not self.audience:
            self.block(
                "nobody",
                _("There is nobody in the chosen lists who gets letters."),
                Step.lists,
                _("Add people"),
            )
        else:
            self.passed.append(
                _("Everybody is written to once, without those who unsubscribed or cannot be reached.")
            )

    # --- letter

    def at_letter(self) -> None:
        campaign = self.campaign
        if not campaign.subject.strip():
            self.block(
                "no_subject",
                _("The letter has no subject."),
                Step.letter,
                _("Write a subject"),
                field="subject",
            )
        if not campaign.html.strip() and not campaign.text.strip():
            self.block(
                "no_letter", _("The letter is empty."), Step.letter, _("Write the letter"), field="html"
            )
            return
        try:
            letter = compile_of(campaign)
        except LetterError as error:
            self.block_letter(error)
            return
        self.passed.append(_("The letter can be put together: its variables and tags are in order."))
        self.at_variables(letter)
        self.at_sample(letter)
        if not campaign.preheader.strip():
            self.say(
                Severity.note,
                "no_preheader",
                _("There is no preheader: inboxes show the first words of the letter beside the subject."),
                Step.letter,
                _("Write a preheader"),
            )
        if "unsubscribe_url" not in letter.variables:
            self.say(
                Severity.note,
                "footer",
                _("The letter has no unsubscribe link of its own: one is added under it."),
                Step.letter,
                _("See the letter"),
            )

    def block_letter(self, error: LetterError) -> None:
        place = PARTS.get(error.field, error.field)
        mapping = {"part": place, "reason": error.message, "line": error.line}
        message = (
            _("${reason} ${part}, line ${line}.", mapping=mapping)
            if error.line
            else _("${reason} ${part}.", mapping=mapping)
        )
        self.block(
            "letter_error", message, Step.letter, _("Mend the letter"), field=error.field, line=error.line
        )

    def at_variables(self, letter: letters.Letter) -> None:
        campaign = self.campaign
        self.variables = variable_uses(
            self.session,
            campaign,
            letter.variables,
            self.audience,
        )
        before = len(self.problems)
        for use in self.variables:
            self.at_variable(use)
        if self.variables and len(self.problems) == before:
            self.passed.append(_("Every variable is known, and filled wherever it stands."))

    def at_variable(self, use: VariableUse) -> None:
        if use.origin is Origin.nobody:
            mapping = {"name": use.name}
            if use.guarded:
                self.warn(
                    "unknown_variable",
                    _("Nobody has “${name}”: everybody gets what the letter says instead.", mapping=mapping),
                    Step.letter,
                    _("Look at the variables"),
                    field=use.name,
                )
            else:
                self.block(
                    "unknown_variable",
                    self.unknown(use.name),
                    Step.letter,
                    _("Look at the variables"),
                    field=use.name,
                )
        elif use.bare and self.audience:
            self.warn(
                "empty_variable",
                _(
                    "“${name}” is empty for ${empty} of ${audience} people: they see a gap there.",
                    mapping={"name": use.name, "empty": use.empty, "audience": self.audience},
                ),
                Step.letter,
                _("Fill the gap"),
                field=use.name,
            )

    def unknown(self, name: str) -> str:
        likely = likely_field(self.session, self.campaign.account_id, name)
        if likely:
            return _(
                "The letter uses “${name}”, which nobody has. Did you mean “${likely}”?",
                mapping={"name": name, "likely": likely},
            )
        return _(
            "The letter uses “${name}”, which nobody has. Correct the name, or give it a value.",
            mapping={"name": name},
        )

    def at_sample(self, letter: letters.Letter) -> None:
        """The letter as one of its readers gets it."""
        reader = sample_reader(self.session, self.campaign)
        try:
            shown = preview(self.session, self.campaign, reader, now=self.now, letter=letter)
        except LetterError as error:
            self.block_letter(error)
            return
        self.shown = shown
        if not shown.subject.strip() and self.campaign.subject.strip():
            self.block(
                "no_subject",
                _("The subject comes out empty."),
                Step.letter,
                _("Write a subject"),
                field="subject",
            )
        self.look = look_at(shown.html, source=self.campaign.html, ours=self.settings.public_url)
        for code, found, message in _appearance(self.look):
            if found:
                self.warn(code, message, Step.letter, _("Look at the letter"))
        if self.look.links and not self.look.example_links and not self.look.local_links:
            self.passed.append(_("Every link leads somewhere."))
        if not self.look.clipped:
            self.passed.append(_("The letter is small enough for Gmail to show it whole."))

    # --- senders

    def at_senders(self) -> None:
        senders = [sender for sender in self.campaign.senders if sender.deleted_at is None]
        if not senders:
            self.block(
                "no_sender",
                _("No sender is chosen: there is nowhere to send from."),
                Step.people,
                _("Choose a sender"),
            )
            return
        failing = [sender for sender in senders if not usable_sender(sender)]
        for sender in failing:
            self.at_failing(sender, everybody=len(failing) == len(senders))
        for sender in senders:
            if (
                sender.status is SenderStatus.sleeping
                and sender.sleeps_until
                and sender.sleeps_until > self.now
            ):
                self.say(
                    Severity.note,
                    "sender_sleeping",
                    _("${address} is resting and goes on by itself.", mapping={"address": sender.from_email}),
                    Step.senders,
                    _("See the sender"),
                )
            self.at_pace(sender)
            self.at_domain(sender)
        if not failing:
            self.passed.append(_("The sender is ready."))

    def at_failing(self, sender: Sender, everybody: bool) -> None:
        self.say(
            Severity.blocking if everybody else Severity.warning,
            "sender_failing",
            _(
                "${address} cannot send. ${error}",
                mapping={"address": sender.from_email, "error": sender.error or _("It needs a look.")},
            ),
            Step.senders,
            _("Look at the sender"),
        )

    def at_pace(self, sender: Sender) -> None:
        if sender.slowed_to:
            self.say(
                Severity.note,
                "sender_slowed",
                _(
                    "${address} sends slower because its mail server asked for it. It wins its pace back by"
                    " itself.",
                    mapping={"address": sender.from_email},
                ),
                Step.senders,
                _("See the sender"),
            )

    def at_domain(self, sender: Sender) -> None:
        """A free mail provider's address sent through somebody else's server: DMARC has it refused."""
        domain = sender.from_email.rpartition("@")[2].lower()
        host = str(sender.settings.get("host", ""))
        ours = host in ("", "localhost") or host.startswith("127.")
        if domain in FREE_MAIL and sender.backend == "smtp" and not ours and not _same_house(domain, host):
            self.warn(
                "foreign_server",
                _(
                    "${address} is sent through ${host}, a stranger to ${domain}: many servers refuse that.",
                    mapping={"address": sender.from_email, "host": host, "domain": domain},
                ),
                Step.senders,
                _("Look at the sender"),
            )

    # --- time

    def at_time(self) -> None:
        campaign = self.campaign
        self.forecast = forecast(
            self.session,
            campaign,
            self.audience,
            settings=self.settings,
            registry=self.registry,
            now=self.now,
            send_at=self.send_at,
        )
        if self.send_at and self.send_at < self.now and campaign.status == "draft":
            self.block(
                "past", _("The time to send has passed. Choose another."), Step.when, _("Choose a time")
            )
        self.at_latest_start()
        self.at_waits()
        if not self.settings.secure or _local(self.settings.public_url):
            self.say(
                Severity.note if self.settings.development else Severity.warning,
                "public_url",
                _(
                    "Links in the letter lead to ${url}. Readers elsewhere may not get there.",
                    mapping={"url": self.settings.public_url},
                ),
                Step.letter,
                _("See the letter"),
            )

    def at_latest_start(self) -> None:
        latest = self.campaign.not_after
        first = self.forecast.days[0].starts_at if self.forecast.days else None
        if latest and first and first >= latest + timedelta(minutes=1) and self.campaign.status == "draft":
            self.block(
                "too_late",
                _("The first letter would leave later than your latest start. Move one of them."),
                Step.when,
                _("Choose a time"),
                field="not_after",
            )

    def at_waits(self) -> None:
        pause = self.forecast.first_pause
        if pause is None or not self.audience:
            return
        if pause.wait is Wait.plan:
            self.warn(
                "plan_limit",
                _(
                    "Your plan allows ${limit} letters in 24 hours: the rest waits and goes on by itself.",
                    mapping={"limit": pause.limit},
                ),
                Step.plan,
                _("See the plans"),
            )
        elif pause.wait is Wait.sender:
            self.say(
                Severity.note,
                "sender_limit",
                _(
                    "${address} may send ${limit} letters in 24 hours: the rest waits and goes on by itself.",
                    mapping={"address": pause.sender, "limit": pause.limit},
                ),
                Step.senders,
                _("See the sender"),
            )
        if self.forecast.finishes_at is None and not pause.limit:
            self.block(
                "no_room", _("Nothing may leave at all with today's limits."), Step.plan, _("See the plans")
            )


PARTS = {
    "subject": _("Subject"),
    "preheader": _("Preheader"),
    "html": _("Letter"),
    "text": _("Text part"),
    "variables": _("Variables"),
    "links": _("Links"),
}


def _appearance(look: Look) -> Iterator[tuple[str, bool, str]]:
    """(code, found, sentence) of everything that mail programs or readers may dislike."""
    yield (
        "clipped",
        look.clipped,
        _(
            "The letter has ${size} KB. Gmail shows the first 102 KB and folds the rest away.",
            mapping={"size": look.size // 1024},
        ),
    )
    yield (
        "only_pictures",
        look.only_pictures,
        _("The letter is almost only pictures: who does not load them reads nothing."),
    )
    yield (
        "no_alt",
        look.pictures_without_alt > 0,
        _("Pictures without a description: ${number}.", mapping={"number": look.pictures_without_alt}),
    )
    yield (
        "embedded_pictures",
        look.embedded_pictures > 0,
        _("Pictures inside the letter (data:) are not shown by Gmail and Outlook."),
    )
    yield (
        "plain_links",
        bool(look.plain_links),
        _("Links without TLS (http://): ${link}", mapping={"link": _few(look.plain_links)}),
    )
    yield (
        "local_links",
        bool(look.local_links),
        _("Links that only work on your own computer: ${link}", mapping={"link": _few(look.local_links)}),
    )
    yield (
        "example_links",
        bool(look.example_links),
        _("Links left over from the example: ${link}", mapping={"link": _few(look.example_links)}),
    )
    yield (
        "dead_links",
        look.dead_links > 0,
        _("Links that lead nowhere: ${number}.", mapping={"number": look.dead_links}),
    )
    yield (
        "removed",
        bool(look.removed),
        _("Mail programs take these out of letters: ${tags}", mapping={"tags": ", ".join(look.removed)}),
    )


def _few(links: tuple[str, ...]) -> str:
    shown = ", ".join(link[:60] for link in links[:3])
    return shown + (", …" if len(links) > 3 else "")


def _same_house(domain: str, host: str) -> bool:
    houses: tuple[tuple[str, ...], ...] = (
        ("gmail.com", "googlemail.com", "google.com"),
        ("yandex.ru", "ya.ru", "yandex.com", "yandex.net"),
        ("mail.ru", "bk.ru", "inbox.ru", "list.ru"),
        ("outlook.com", "hotmail.com", "office365.com", "live.com"),
        ("icloud.com", "me.com"),
    )
    belongs: Callable[[str], bool] = lambda name: host == name or host.endswith("." + name)  # noqa: E731
    return belongs(domain) or any(domain in house and any(map(belongs, house)) for house in houses)


def _local(url: str) -> bool:
    return any(name in url for name in ("//localhost", "//127.", "//[::1]"))
