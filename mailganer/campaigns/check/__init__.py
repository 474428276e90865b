"""What would go wrong if a campaign were sent: everything, at once, each with its one next step.

Nothing is changed by looking. ``blocking`` problems keep a campaign from being scheduled; warnings are told
and left to the person. Each module looks at one thing and yields what it finds, the good and the bad.
"""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.orm import Session

from ...audience.fields import KnownNames
from ...audience.recipients import audience_of
from ...backends import Registry
from ...models import Campaign
from ...settings import Settings
from ..prospects import forecast
from .findings import Check, Finding, Fine, Problem, Severity, Step
from .letter import Read, at_letter, count, read
from .links import at_links
from .people import at_people
from .placeholders import at_placeholders
from .quick import EmailState, Readiness, Seen, email_key, email_state, readiness, with_unusable
from .senders import at_senders
from .time import at_time

__all__ = [
    "Check",
    "EmailState",
    "Problem",
    "Read",
    "Readiness",
    "Seen",
    "Severity",
    "Step",
    "check",
    "email_key",
    "email_state",
    "read",
    "readiness",
    "with_unusable",
]


def check(
    session: Session,
    campaign: Campaign,
    *,
    settings: Settings,
    registry: Registry,
    now: datetime,
    send_at: datetime | None = None,
    letter: Read | None = None,
) -> Check:
    """Looks at people, letter, senders, variables and limits. Raises nothing: what is wrong is a problem.

    Without ``letter``, which is ``read`` already, the session's transaction is given back: see
    ``db.outside``.
    """
    letter = letter or read(session, campaign, ours=settings.public_url, now=now)
    send_at = send_at or campaign.send_at
    audience = audience_of(session, campaign)
    letter = count(session, campaign, letter, audience)
    expected = forecast(
        session, campaign, audience, settings=settings, registry=registry, now=now, send_at=send_at
    )
    found = (
        *at_people(campaign, audience),
        *at_letter(campaign, letter, audience),
        *_at_places(session, campaign, letter),
        *at_senders(campaign, now),
        *at_time(campaign, expected, audience, settings=settings, now=now, send_at=send_at),
    )
    order = list(Severity)
    problems = [each for each in found if isinstance(each, Problem)]
    return Check(
        problems=tuple(sorted(problems, key=lambda problem: order.index(problem.severity))),
        audience=audience,
        variables=letter.variables,
        forecast=expected,
        passed=tuple(each.message for each in found if isinstance(each, Fine)),
        look=letter.reading.look,
        shown=letter.shown,
    )


def _at_places(session: Session, campaign: Campaign, letter: Read) -> Iterator[Finding]:
    """What stands in links, and in braces that are none of ours."""
    names = KnownNames(session, campaign.account_id, [each.id for each in campaign.lists])
    has_address = bool(campaign.account.postal_address.strip())
    yield from at_placeholders(letter.reading.tags, names, postal_address=has_address)
    if letter.compiled is not None:
        dead = (*letter.unknown_clicks, *letter.left)
        yield from at_links(session, campaign, letter.reading, letter.compiled.links, dead)
