"""The email of a campaign, compiled, rendered and analysed for the check."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice

from sqlalchemy.orm import Session

from ... import rendering
from ...audience.fields import KnownNames
from ...db import without_transaction
from ...errors import EmailError
from ...models import Campaign
from ...rendering import EmailAnalysis
from ..frozen_emails import (
    compile_of,
    copied_targets,
    foreign_links_in,
    texts_of,
    tokens_of,
    tokens_of_text,
    unknown_clicks,
)
from ..preview import preview, sample_recipient
from ..variables import VariableOrigin, VariableUse, is_field, recipients_links, variable_uses
from .foreign_placeholders import likely_variable

MOST_LIKELY = 50  # unknown names, for which a similar one is looked up


@dataclass(frozen=True)
class AnalysedEmail:
    """An analysed email: its parts, and the email as its first recipient gets it."""

    compiled: rendering.CompiledEmail | None = None
    error: EmailError | None = None  # of compiling or rendering
    variables: tuple[VariableUse, ...] = ()
    shown: rendering.Rendered | None = None
    reading: EmailAnalysis = field(default_factory=EmailAnalysis)
    unknown_clicks: tuple[str, ...] = ()  # copied tracked links that lead nowhere
    left: tuple[str, ...] = ()  # copied links of another recipient that could not be replaced
    likely: Mapping[str, str] = field(default_factory=dict)  # suggestions for unknown variables
    linking: tuple[str, ...] = ()  # fields with values that are links of another recipient


def read(session: Session, campaign: Campaign, *, ours: str, now: datetime) -> AnalysedEmail:
    """Compile the email and render it for its first recipient. ``ours`` is the base URL of our links.

    The session's transaction is ended: see ``db.without_transaction``. Values that need counting are added
    later by ``count``.
    """
    email = compile_and_render(session, campaign, ours=ours, now=now)
    html = email.shown.html if email.shown else None
    sources, broken = texts_of(campaign), email.error is not None
    try:
        work = partial(rendering.analyse_email, sources, html, ours=ours, broken=broken)
        found = without_transaction(session, rendering.for_account(campaign.account_id, work))
    except EmailError as error:
        return replace(email, error=email.error or error)
    return replace(email, reading=found)


def compile_and_render(
    session: Session, campaign: Campaign, done: AnalysedEmail | None = None, *, ours: str, now: datetime
) -> AnalysedEmail:
    """Do the part of ``read`` that compiles and renders, except for what is ``done`` or failed already."""
    done = done or AnalysedEmail()
    if not is_written(campaign):
        return AnalysedEmail()
    if done.compiled is None and done.error is not None:
        return done
    try:
        targets = copied_targets(session, campaign, ours)
        tokens = tokens_of(session, campaign)
        compiled = done.compiled or compile_of(campaign, ours, targets)
        tokens |= tokens_of_text(session, compiled)
    except EmailError as error:
        return AnalysedEmail(error=error)
    lost, left = unknown_clicks(campaign, ours, targets, tokens), foreign_links_in(compiled, tokens, ours)
    email = replace(done, compiled=compiled, unknown_clicks=lost, left=left)
    if email.shown is not None or email.error is not None:
        return email
    try:
        recipient = sample_recipient(session, campaign)
        shown = preview(session, campaign, recipient, now=now, email=compiled)
    except EmailError as error:
        return replace(email, error=error)
    return replace(email, shown=shown)


def count(
    session: Session, campaign: Campaign, email: AnalysedEmail, audience: int, *, ours: str
) -> AnalysedEmail:
    """Count the variables of an analysed email over all recipients, and find our links in their values."""
    if email.compiled is None:
        return email
    uses = variable_uses(session, campaign, email.compiled.variables, audience, email.reading.guarded)
    names = KnownNames(session, campaign.account_id, [each.id for each in campaign.lists])
    unknown = (use.name for use in uses if use.origin is VariableOrigin.unknown)
    likely = {name: likely_variable(name, names) for name in islice(unknown, MOST_LIKELY)}
    fields = [use.name for use in uses if is_field(use.name) and use.origin is not VariableOrigin.campaign]
    linking = tuple(recipients_links(session, campaign, fields, ours)) if ours else ()
    return replace(email, variables=uses, likely=likely, linking=linking)


def is_written(campaign: Campaign) -> bool:
    """Return whether the email has HTML or text."""
    return bool(campaign.html.strip() or campaign.text.strip())
