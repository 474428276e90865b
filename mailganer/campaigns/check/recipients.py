"""Check of a campaign's recipients: whether there are any."""

from collections.abc import Iterator

from ...errors import _
from ...models import Campaign
from .findings import CampaignStep, Finding, PassedCheck, Problem, Severity


def at_recipients(campaign: Campaign, audience: int) -> Iterator[Finding]:
    if not campaign.lists:
        yield Problem(
            "no_list",
            _("No list is selected, so there are no recipients."),
            Severity.blocking,
            CampaignStep.target,
            _("Select lists"),
        )
    elif not audience:
        yield Problem(
            "nobody",
            _("The selected lists have no subscribers who can get emails."),
            Severity.blocking,
            CampaignStep.lists,
            _("Import subscribers"),
        )
    else:
        yield PassedCheck(
            _("Each recipient gets the email once. Unsubscribed and undeliverable addresses are excluded.")
        )
