"""Check of the email: whether it renders, its gaps, and how email apps will display it."""

from collections.abc import Iterator, Mapping

from ... import rendering
from ...errors import EmailError, _
from ...models import Campaign
from ...rendering.email_facts import EmailFacts
from ..frozen_emails import foreign_links_message
from ..variables import VariableOrigin, VariableUse
from .analysed_email import AnalysedEmail, is_written
from .findings import CampaignStep, Finding, PassedCheck, Problem, Severity

PARTS = {
    "subject": _("Subject"),
    "preheader": _("Preheader"),
    "html": _("Email"),
    "text": _("Text part"),
    "variables": _("Variables"),
    "links": _("Links"),
}

UNKNOWN = "unknown_variable"  # the code of the problem


def at_email(campaign: Campaign, email: AnalysedEmail, audience: int) -> Iterator[Finding]:
    if not campaign.subject.strip():
        yield _no_subject(_("The email has no subject."))
    if not is_written(campaign):
        yield Problem(
            "no_letter",
            _("The email is empty."),
            Severity.blocking,
            CampaignStep.email,
            _("Write email"),
            field="html",
        )
    if email.compiled is not None:
        yield PassedCheck(_("The email renders without errors: its variables and tags are valid."))
        yield from _at_variables(email, audience)
        yield from _at_adjustments(campaign.html, email.compiled, email)
        yield from _at_left(email.left)
    if email.error is not None:
        yield _broken(email.error)
    if email.shown is not None and campaign.subject.strip() and not email.shown.subject.strip():
        yield _no_subject(_("The rendered subject is empty."))
    if email.shown is not None and email.reading.facts is not None:
        yield from _at_sample(email.reading.facts)
    if email.compiled is not None:
        yield from _at_frame(campaign, email.compiled)


def _no_subject(message: str) -> Problem:
    return Problem(
        "no_subject", message, Severity.blocking, CampaignStep.email, _("Write subject"), field="subject"
    )


def _broken(error: EmailError) -> Problem:
    place = PARTS.get(error.field, error.field)
    mapping = {"part": place, "reason": error.message, "line": error.line}
    message = (
        _("${reason} ${part}, line ${line}.", mapping=mapping)
        if error.line
        else _("${reason} ${part}.", mapping=mapping)
    )
    return Problem(
        "email_error",
        message,
        Severity.blocking,
        CampaignStep.email,
        _("Fix email"),
        field=error.field,
        line=error.line,
    )


def _at_adjustments(
    source: str, compiled: rendering.CompiledEmail, email: AnalysedEmail
) -> Iterator[Finding]:
    """Yield problems for unusual adjustments of the email, and for those not possible."""
    if rendering.PARAGRAPHS in compiled.adjusted:
        linked = compiled.html.count("<a href=") > source.count("<a href=")
        yield Problem(
            "plain_words",
            _(
                "The email has no HTML paragraphs. Its lines were turned into paragraphs and line "
                "breaks, and its web addresses into links."
            )
            if linked
            else _(
                "The email has no HTML paragraphs. Its lines were turned into paragraphs and line breaks."
            ),
            Severity.note,
            CampaignStep.email,
            _("View email"),
            field="html",
        )

    elif email.reading.collapsed_lines:
        yield Problem(
            "lost_lines",
            _(
                "Empty lines in the text are not shown because the email contains HTML tags: the "
                "paragraphs around them are merged. Put each paragraph in <p> and </p>, or remove "
                "the layout tags."
            ),
            Severity.warning,
            CampaignStep.email,
            _("View email"),
            field="html",
        )

    if email.reading.quoted_printable:
        yield Problem(
            "quoted_printable",
            _(
                "The HTML is the encoded source of an email (quoted-printable). Recipients would see "
                "“=3D” and broken links. Paste the HTML itself, as shown in a browser or template."
            ),
            Severity.warning,
            CampaignStep.email,
            _("Edit email"),
            field="html",
        )

    if rendering.OWN_ADDRESSES in compiled.adjusted:
        yield Problem(
            "own_addresses",
            _(
                "The email was copied from one that was already sent. Its unsubscribe links and "
                "tracking pixel are replaced with each recipient's own, and its tracked links with "
                "their targets."
            ),
            Severity.note,
            CampaignStep.email,
            _("View email"),
            field="html",
        )
    if email.linking or email.reading.recipients_links:
        yield Problem(
            "recipients_links",
            _(
                "Values of the field “${name}” are links from an email that was already sent. Each "
                "recipient gets their own links instead.",
                mapping={"name": email.linking[0]},
            )
            if email.linking
            else _(
                "The email builds links of an email that was already sent. Each recipient gets their "
                "own links instead."
            ),
            Severity.note,
            CampaignStep.email,
            _("View email"),
            field="html",
        )
    if email.unknown_clicks:
        yield Problem(
            "unknown_clicks",
            _(
                "Links copied from a deleted email do not work: ${link}",
                mapping={"link": _few(email.unknown_clicks)},
            ),
            Severity.warning,
            CampaignStep.email,
            _("View email"),
            field="html",
        )


def _at_left(left: tuple[str, ...]) -> Iterator[Problem]:
    if left:
        yield Problem(
            "foreign_addresses",
            foreign_links_message(left),
            Severity.blocking,
            CampaignStep.email,
            _("Edit email"),
            field="html",
        )


def _at_variables(email: AnalysedEmail, audience: int) -> Iterator[Finding]:
    problems = [problem for use in email.variables for problem in _at_variable(use, audience, email.likely)]
    yield from problems
    if email.variables and not problems:
        yield PassedCheck(_("All variables are known and have values."))


def _at_variable(use: VariableUse, audience: int, likely: Mapping[str, str]) -> Iterator[Problem]:
    if use.origin is VariableOrigin.unknown:
        yield _unknown(use, likely.get(use.name, ""))
    elif use.bare and audience:
        yield Problem(
            "empty_variable",
            _(
                "“${name}” is empty for ${empty} of ${audience} recipients. They will see a blank space.",
                mapping={"name": use.name, "empty": use.empty, "audience": audience},
            ),
            Severity.warning,
            CampaignStep.email,
            _("Set default value"),
            field=use.name,
        )


def _unknown(use: VariableUse, likely: str) -> Problem:
    mapping = {"name": use.name}
    if use.guarded and likely:
        message = _(
            "No recipient has “${name}”: the email's default is used for all. Did you mean “${likely}”?",
            mapping=mapping | {"likely": likely},
        )
    elif use.guarded:
        message = _("No recipient has “${name}”: the email's default is used for all.", mapping=mapping)
    elif likely:
        message = _(
            "The email uses “${name}”, but no recipient has it. Did you mean “${likely}”?",
            mapping=mapping | {"likely": likely},
        )
    else:
        message = _(
            "The email uses “${name}”, but no recipient has it. Correct the name or set a value.",
            mapping=mapping,
        )
    return Problem(
        UNKNOWN,
        message,
        Severity.warning if use.guarded else Severity.blocking,
        CampaignStep.email,
        _("View variables"),
        field=use.name,
    )


def _at_sample(look: EmailFacts) -> Iterator[Finding]:
    """The email as one of its recipients gets it."""
    for code, found, message in _appearance(look):
        if found:
            yield Problem(code, message, Severity.warning, CampaignStep.email, _("View email"))
    if not look.clipped:
        yield PassedCheck(_("The email is small enough for Gmail to show it in full."))


def _at_frame(campaign: Campaign, compiled: rendering.CompiledEmail) -> Iterator[Problem]:
    """Yield notes on the preheader and the footer."""
    if not campaign.preheader.strip():
        yield Problem(
            "no_preheader",
            _("There is no preheader. Inboxes show the first words of the email next to the subject."),
            Severity.note,
            CampaignStep.email,
            _("Write preheader"),
        )
    if "unsubscribe_url" not in compiled.variables:
        yield Problem(
            "footer",
            _("The email has no unsubscribe link. One is added at the end."),
            Severity.note,
            CampaignStep.email,
            _("View email"),
        )


def _appearance(look: EmailFacts) -> Iterator[tuple[str, bool, str]]:
    """Yield (code, found, sentence) for everything that email apps or recipients may dislike."""
    yield (
        "clipped",
        look.clipped,
        _(
            "The email is ${size} KB. Gmail shows the first 102 KB and clips the rest.",
            mapping={"size": look.size // 1024},
        ),
    )
    yield (
        "only_pictures",
        look.only_images,
        _("The email is almost all images. Recipients with images turned off see nothing."),
    )
    yield (
        "no_alt",
        look.images_without_alt > 0,
        _("Images without alt text: ${number}.", mapping={"number": look.images_without_alt}),
    )
    yield (
        "embedded_pictures",
        look.embedded_images > 0,
        _("Gmail and Outlook do not show images embedded in the email (data:)."),
    )
    yield (
        "plain_links",
        bool(look.plain_links),
        _("Links without TLS (http://): ${link}", mapping={"link": _few(look.plain_links)}),
    )
    yield (
        "local_links",
        bool(look.local_links),
        _("Links that work only on your computer: ${link}", mapping={"link": _few(look.local_links)}),
    )
    yield (
        "removed",
        bool(look.removed),
        _("Email apps remove these tags: ${tags}", mapping={"tags": ", ".join(look.removed)}),
    )


def _few(links: tuple[str, ...]) -> str:
    shown = ", ".join(link[:60] for link in links[:3])
    return shown + (", …" if len(links) > 3 else "")
