"""Check of a campaign's recipients: whether there are any."""

from collections.abc import Iterator

from ...errors import _
from ...models import Campaign
from .findings import CampaignStep, Finding, PassedCheck, Problem, Severity


def at_people(campaign: Campaign, audience: int) -> Iterator[Finding]:
    if not campaign.lists:
        yield Problem(
            "no_list",
            _("No list is chosen: nobody would get this email."),
            Severity.blocking,
            CampaignStep.target,
            _("Choose lists"),
        )
    elif not audience:
        yield Problem(
            "nobody",
            _("There is nobody in the chosen lists who gets emails."),
            Severity.blocking,
            CampaignStep.lists,
            _("Add people"),
        )
    else:
        yield PassedCheck(
            _("Everybody is written to once, without those who unsubscribed or cannot be reached.")
        )
