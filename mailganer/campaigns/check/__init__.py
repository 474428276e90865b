"""Check of a campaign before sending: all problems at once, each with one action.

A check changes nothing. ``blocking`` problems prevent scheduling; warnings are shown and left to the user.
Each module checks one topic and yields problems and passed checks.
"""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.orm import Session

from ...audience.fields import KnownNames
from ...audience.recipients import audience_of
from ...backends import Registry
from ...models import Campaign
from ...settings import Settings
from ..campaign_forecast import forecast
from .analysed_email import AnalysedEmail, count, read
from .email import at_email
from .findings import Check, Finding, PassedCheck, Problem, Severity
from .foreign_placeholders import at_placeholders
from .links import at_links
from .quick import EmailFindings, EmailState, Readiness, blocking_codes, email_key, email_state, readiness
from .recipients import at_recipients
from .schedule import at_time
from .senders import at_senders

__all__ = [
    "AnalysedEmail",
    "Check",
    "EmailFindings",
    "EmailState",
    "Readiness",
    "Severity",
    "blocking_codes",
    "check",
    "email_key",
    "email_state",
    "read",
    "readiness",
]


def check(
    session: Session,
    campaign: Campaign,
    *,
    settings: Settings,
    registry: Registry,
    now: datetime,
    send_at: datetime | None = None,
    email: AnalysedEmail | None = None,
) -> Check:
    """Check recipients, email, senders, variables and limits. Raises nothing: errors become problems.

    Without ``email``, the result of ``read``, the session's transaction is ended: see
    ``db.without_transaction``.
    """
    email = email or read(session, campaign, ours=settings.public_url, now=now)
    send_at = send_at or campaign.send_at
    audience = audience_of(session, campaign)
    email = count(session, campaign, email, audience, ours=settings.public_url)
    expected = forecast(
        session, campaign, audience, settings=settings, registry=registry, now=now, send_at=send_at
    )
    found = (
        *at_recipients(campaign, audience),
        *at_email(campaign, email, audience),
        *_at_places(session, campaign, email),
        *at_senders(campaign, now),
        *at_time(campaign, expected, audience, settings=settings, now=now, send_at=send_at),
    )
    order = list(Severity)
    problems = [each for each in found if isinstance(each, Problem)]
    return Check(
        problems=tuple(sorted(problems, key=lambda problem: order.index(problem.severity))),
        audience=audience,
        variables=email.variables,
        forecast=expected,
        passed=tuple(each.message for each in found if isinstance(each, PassedCheck)),
        look=email.reading.facts,
        shown=email.shown,
    )


def _at_places(session: Session, campaign: Campaign, email: AnalysedEmail) -> Iterator[Finding]:
    """Yield findings on links and on placeholders of other programs."""
    names = KnownNames(session, campaign.account_id, [each.id for each in campaign.lists])
    has_address = bool(campaign.account.postal_address.strip())
    yield from at_placeholders(email.reading.tags, names, postal_address=has_address)
    if email.compiled is not None:
        dead = (*email.unknown_clicks, *email.left)
        yield from at_links(session, campaign, email.reading, email.compiled.links, dead)
