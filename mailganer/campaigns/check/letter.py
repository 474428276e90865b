"""Whether the letter can be put together, for whom it has gaps, and what mail programs will make of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice

from sqlalchemy.orm import Session

from ... import letters
from ...audience.fields import KnownNames
from ...db import outside
from ...errors import LetterError, _
from ...letters import Reading
from ...letters.look import Look
from ...models import Campaign
from ..preview import preview, sample_reader
from ..variables import Origin, VariableUse, variable_uses
from ..versions import (
    compile_of,
    copied_targets,
    left_in,
    said_of_left,
    texts_of,
    tokens_of,
    unknown_clicks,
)
from .findings import Finding, Fine, Problem, Severity, Step
from .placeholders import likely_variable

PARTS = {
    "subject": _("Subject"),
    "preheader": _("Preheader"),
    "html": _("Letter"),
    "text": _("Text part"),
    "variables": _("Variables"),
    "links": _("Links"),
}


UNKNOWN = "unknown_variable"  # the code of the problem
MOST_LIKELY = 50  # names that nobody has, for which one is looked up


@dataclass(frozen=True)
class Read:
    """A letter that was read once: what it is made of, and how its first reader gets it."""

    compiled: letters.Letter | None = None
    error: LetterError | None = None  # of compiling, or of showing it
    variables: tuple[VariableUse, ...] = ()
    shown: letters.Rendered | None = None
    reading: Reading = field(default_factory=Reading)
    unknown_clicks: tuple[str, ...] = ()  # addresses of counted links, copied, that lead nowhere
    left: tuple[str, ...] = ()  # links of another recipient, copied, that could not be replaced
    likely: Mapping[str, str] = field(default_factory=dict)  # what is meant by variables that nobody has


def read(session: Session, campaign: Campaign, *, ours: str, now: datetime) -> Read:
    """Compile the email and render it for its first reader. ``ours`` is the address that our links lead to.

    The session's transaction is given back: see ``db.outside``. What is counted comes after, by ``count``.
    """
    letter = put_together(session, campaign, ours=ours, now=now)
    html = letter.shown.html if letter.shown else None
    sources, broken = texts_of(campaign), letter.error is not None
    try:
        work = partial(letters.read_email, sources, html, ours=ours, broken=broken)
        found = outside(session, letters.for_account(campaign.account_id, work))
    except LetterError as error:
        return replace(letter, error=letter.error or error)
    return replace(letter, reading=found)


def put_together(
    session: Session, campaign: Campaign, done: Read | None = None, *, ours: str, now: datetime
) -> Read:
    """Do the part of ``read`` that compiles and renders, except for what is ``done`` or failed already."""
    done = done or Read()
    if not is_written(campaign):
        return Read()
    if done.compiled is None and done.error is not None:
        return done
    try:
        targets = copied_targets(session, campaign, ours)
        tokens = tokens_of(session, campaign)
        compiled = done.compiled or compile_of(campaign, ours, targets)
    except LetterError as error:
        return Read(error=error)
    lost, left = unknown_clicks(campaign, ours, targets, tokens), left_in(compiled, tokens, ours)
    letter = replace(done, compiled=compiled, unknown_clicks=lost, left=left)
    if letter.shown is not None or letter.error is not None:
        return letter
    try:
        reader = sample_reader(session, campaign)
        shown = preview(session, campaign, reader, now=now, letter=compiled)
    except LetterError as error:
        return replace(letter, error=error)
    return replace(letter, shown=shown)


def count(session: Session, campaign: Campaign, letter: Read, audience: int) -> Read:
    """Count the variables of an email that was read over everybody who gets it."""
    if letter.compiled is None:
        return letter
    uses = variable_uses(session, campaign, letter.compiled.variables, audience, letter.reading.guarded)
    names = KnownNames(session, campaign.account_id, [each.id for each in campaign.lists])
    unknown = (use.name for use in uses if use.origin is Origin.nobody)
    likely = {name: likely_variable(name, names) for name in islice(unknown, MOST_LIKELY)}
    return replace(letter, variables=uses, likely=likely)


def at_letter(campaign: Campaign, letter: Read, audience: int) -> Iterator[Finding]:
    if not campaign.subject.strip():
        yield _no_subject(_("The letter has no subject."))
    if not is_written(campaign):
        yield Problem(
            "no_letter",
            _("The letter is empty."),
            Severity.blocking,
            Step.letter,
            _("Write the letter"),
            field="html",
        )
    if letter.compiled is not None:
        yield Fine(_("The letter can be put together: its variables and tags are in order."))
        yield from _at_variables(letter, audience)
        yield from _at_adjustments(campaign.html, letter.compiled, letter)
        yield from _at_left(letter.left)
    if letter.error is not None:
        yield _broken(letter.error)
    if letter.shown is not None and campaign.subject.strip() and not letter.shown.subject.strip():
        yield _no_subject(_("The subject comes out empty."))
    if letter.shown is not None and letter.reading.look is not None:
        yield from _at_sample(letter.reading.look)
    if letter.compiled is not None:
        yield from _at_frame(campaign, letter.compiled)


def is_written(campaign: Campaign) -> bool:
    return bool(campaign.html.strip() or campaign.text.strip())


def _no_subject(message: str) -> Problem:
    return Problem(
        "no_subject", message, Severity.blocking, Step.letter, _("Write a subject"), field="subject"
    )


def _broken(error: LetterError) -> Problem:
    place = PARTS.get(error.field, error.field)
    mapping = {"part": place, "reason": error.message, "line": error.line}
    message = (
        _("${reason} ${part}, line ${line}.", mapping=mapping)
        if error.line
        else _("${reason} ${part}.", mapping=mapping)
    )
    return Problem(
        "letter_error",
        message,
        Severity.blocking,
        Step.letter,
        _("Mend the letter"),
        field=error.field,
        line=error.line,
    )


def _at_adjustments(source: str, compiled: letters.Letter, letter: Read) -> Iterator[Finding]:
    """What was done to the email beyond the usual, and what was left undone."""
    if letters.PARAGRAPHS in compiled.adjusted:
        linked = compiled.html.count("<a href=") > source.count("<a href=")
        yield Problem(
            "plain_words",
            _(
                "The email has no HTML paragraphs: the lines of its text became paragraphs and line breaks, "
                "its web addresses became links."
            )
            if linked
            else _(
                "The email has no HTML paragraphs: the lines of its text became paragraphs and line breaks."
            ),
            Severity.note,
            Step.letter,
            _("See the email"),
            field="html",
        )

    elif letter.reading.lost_lines:
        yield Problem(
            "lost_lines",
            _(
                "Empty lines in the text are not shown, because the email has HTML tags of its own: the "
                "paragraphs around them become one. Put each into <p> and </p>, or take the layout tags out."
            ),
            Severity.warning,
            Step.letter,
            _("See the email"),
            field="html",
        )

    if letter.reading.quoted_printable:
        yield Problem(
            "quoted_printable",
            _(
                "The HTML is the encoded source of an email (quoted-printable): recipients see “=3D” and "
                "broken links. Paste the HTML itself, as a browser or a template shows it."
            ),
            Severity.warning,
            Step.letter,
            _("Edit the email"),
            field="html",
        )

    if letters.OWN_ADDRESSES in compiled.adjusted:
        yield Problem(
            "own_addresses",
            _(
                "The email was copied from one that was sent. Its unsubscribe links and its pixel become "
                "each recipient's own, and its counted links lead straight to their targets."
            ),
            Severity.note,
            Step.letter,
            _("See the email"),
            field="html",
        )
    if letter.unknown_clicks:
        yield Problem(
            "unknown_clicks",
            _(
                "Links copied from an email that is not known any more lead nowhere: ${link}",
                mapping={"link": _few(letter.unknown_clicks)},
            ),
            Severity.warning,
            Step.letter,
            _("See the email"),
            field="html",
        )


def _at_left(left: tuple[str, ...]) -> Iterator[Problem]:
    if left:
        yield Problem(
            "foreign_addresses",
            said_of_left(left),
            Severity.blocking,
            Step.letter,
            _("Edit the email"),
            field="html",
        )


def _at_variables(letter: Read, audience: int) -> Iterator[Finding]:
    problems = [problem for use in letter.variables for problem in _at_variable(use, audience, letter.likely)]
    yield from problems
    if letter.variables and not problems:
        yield Fine(_("Every variable is known, and filled wherever it stands."))


def _at_variable(use: VariableUse, audience: int, likely: Mapping[str, str]) -> Iterator[Problem]:
    if use.origin is Origin.nobody:
        yield _unknown(use, likely.get(use.name, ""))
    elif use.bare and audience:
        yield Problem(
            "empty_variable",
            _(
                "“${name}” is empty for ${empty} of ${audience} people: they see a gap there.",
                mapping={"name": use.name, "empty": use.empty, "audience": audience},
            ),
            Severity.warning,
            Step.letter,
            _("Fill the gap"),
            field=use.name,
        )


def _unknown(use: VariableUse, likely: str) -> Problem:
    mapping = {"name": use.name}
    if use.guarded and likely:
        message = _(
            "Nobody has “${name}”: everybody gets what the letter says instead. Did you mean “${likely}”?",
            mapping=mapping | {"likely": likely},
        )
    elif use.guarded:
        message = _("Nobody has “${name}”: everybody gets what the letter says instead.", mapping=mapping)
    elif likely:
        message = _(
            "The letter uses “${name}”, which nobody has. Did you mean “${likely}”?",
            mapping=mapping | {"likely": likely},
        )
    else:
        message = _(
            "The letter uses “${name}”, which nobody has. Correct the name, or give it a value.",
            mapping=mapping,
        )
    return Problem(
        UNKNOWN,
        message,
        Severity.warning if use.guarded else Severity.blocking,
        Step.letter,
        _("Look at the variables"),
        field=use.name,
    )


def _at_sample(look: Look) -> Iterator[Finding]:
    """The letter as one of its readers gets it."""
    for code, found, message in _appearance(look):
        if found:
            yield Problem(code, message, Severity.warning, Step.letter, _("Look at the letter"))
    if not look.clipped:
        yield Fine(_("The letter is small enough for Gmail to show it whole."))


def _at_frame(campaign: Campaign, compiled: letters.Letter) -> Iterator[Problem]:
    """What stands around a letter in an inbox and under it."""
    if not campaign.preheader.strip():
        yield Problem(
            "no_preheader",
            _("There is no preheader: inboxes show the first words of the letter beside the subject."),
            Severity.note,
            Step.letter,
            _("Write a preheader"),
        )
    if "unsubscribe_url" not in compiled.variables:
        yield Problem(
            "footer",
            _("The letter has no unsubscribe link of its own: one is added under it."),
            Severity.note,
            Step.letter,
            _("See the letter"),
        )


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
        "removed",
        bool(look.removed),
        _("Mail programs take these out of letters: ${tags}", mapping={"tags": ", ".join(look.removed)}),
    )


def _few(links: tuple[str, ...]) -> str:
    shown = ", ".join(link[:60] for link in links[:3])
    return shown + (", …" if len(links) > 3 else "")
