"""Check of a campaign's schedule: whether it can start in time, and where it will wait."""

from collections.abc import Iterator
from datetime import datetime

from ...errors import _
from ...models import Campaign, CampaignStatus
from ...settings import Settings
from ..forecast import Forecast, Wait
from ..sending_hours import begins_too_late
from .findings import CampaignStep, Finding, Problem, Severity


def at_time(
    campaign: Campaign,
    expected: Forecast,
    audience: int,
    *,
    settings: Settings,
    now: datetime,
    send_at: datetime | None,
) -> Iterator[Finding]:
    if campaign.status is CampaignStatus.draft:
        yield from _at_start(campaign, expected, now, send_at)
    if audience:
        yield from _at_waits(expected)
    yield from _at_address(settings)


def _at_start(
    campaign: Campaign, expected: Forecast, now: datetime, send_at: datetime | None
) -> Iterator[Problem]:
    if send_at and send_at < now:
        yield Problem(
            "past",
            _("The time to send has passed. Choose another."),
            Severity.blocking,
            CampaignStep.when,
            _("Choose time"),
        )
    latest = campaign.not_after
    first = expected.days[0].starts_at if expected.days else None
    if latest and first and begins_too_late(first, latest):
        yield Problem(
            "too_late",
            _(
                "The first email would be sent after your start deadline. Change the sending time or "
                "the deadline."
            ),
            Severity.blocking,
            CampaignStep.when,
            _("Choose time"),
            field="not_after",
        )


def _at_waits(expected: Forecast) -> Iterator[Problem]:
    pause = expected.first_pause
    if pause is None:
        return
    if pause.wait is Wait.plan:
        yield Problem(
            "plan_limit",
            _(
                "Your plan allows ${limit} emails per 24 hours. The rest is sent automatically later.",
                mapping={"limit": pause.limit},
            ),
            Severity.warning,
            CampaignStep.plan,
            _("View plans"),
        )
    elif pause.wait is Wait.sender:
        yield Problem(
            "sender_limit",
            _(
                "${address} can send ${limit} emails per 24 hours. The rest is sent automatically later.",
                mapping={"address": pause.sender, "limit": pause.limit},
            ),
            Severity.note,
            CampaignStep.senders,
            _("View sender"),
        )
    if expected.finishes_at is None and not pause.limit:
        yield Problem(
            "no_room",
            _("The current limits do not allow any emails."),
            Severity.blocking,
            CampaignStep.plan,
            _("View plans"),
        )


def _at_address(settings: Settings) -> Iterator[Problem]:
    if not settings.secure or _is_local(settings.public_url):
        yield Problem(
            "public_url",
            _(
                "Links in the email point to ${url}, which may not be reachable from other computers.",
                mapping={"url": settings.public_url},
            ),
            Severity.note if settings.development else Severity.warning,
            CampaignStep.email,
            _("View email"),
        )


def _is_local(url: str) -> bool:
    return any(name in url for name in ("//localhost", "//127.", "//[::1]"))
