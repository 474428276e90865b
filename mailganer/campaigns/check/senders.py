"""Check of a campaign's senders: whether they can send, and restrictions."""

from collections.abc import Iterator
from datetime import datetime

from ...backends.providers import is_unrelated_host
from ...errors import _
from ...models import Campaign, Sender, SenderStatus
from ..campaign_forecast import usable_sender
from .findings import CampaignStep, Finding, PassedCheck, Problem, Severity


def at_senders(campaign: Campaign, now: datetime) -> Iterator[Finding]:
    senders = [sender for sender in campaign.senders if sender.deleted_at is None]
    if not senders:
        yield Problem(
            "no_sender",
            _("No sender is selected."),
            Severity.blocking,
            CampaignStep.target,
            _("Select sender"),
        )
        return
    failing = [sender for sender in senders if not usable_sender(sender)]
    for sender in failing:
        yield _failing(sender, all_failing=len(failing) == len(senders))
    for sender in senders:
        yield from _at_rest(sender, now)
        yield from _at_pace(sender)
        yield from _at_domain(sender)
        yield from _at_name(sender)
    if not failing:
        yield PassedCheck(_("The sender is ready."))


def _failing(sender: Sender, *, all_failing: bool) -> Problem:
    return Problem(
        "sender_failing",
        _(
            "${address} cannot send. ${error}",
            mapping={
                "address": sender.from_email,
                "error": sender.error or _("The sender needs your attention."),
            },
        ),
        Severity.blocking if all_failing else Severity.warning,
        CampaignStep.senders,
        _("View sender"),
    )


def _at_rest(sender: Sender, now: datetime) -> Iterator[Problem]:
    if sender.status is SenderStatus.sleeping and sender.sleeps_until and sender.sleeps_until > now:
        yield Problem(
            "sender_sleeping",
            _("${address} is waiting and resumes automatically.", mapping={"address": sender.from_email}),
            Severity.note,
            CampaignStep.senders,
            _("View sender"),
        )


def _at_pace(sender: Sender) -> Iterator[Problem]:
    if sender.slowed_to:
        yield Problem(
            "sender_slowed",
            _(
                "The mail server asked ${address} to slow down. The rate recovers automatically.",
                mapping={"address": sender.from_email},
            ),
            Severity.note,
            CampaignStep.senders,
            _("View sender"),
        )


def _at_domain(sender: Sender) -> Iterator[Problem]:
    """Yield a warning for a provider's address sent through another server: DMARC makes servers reject it."""
    domain = sender.from_email.rpartition("@")[2].lower()
    host = str(sender.settings.get("host", ""))
    ours = host in ("", "localhost") or host.startswith("127.")
    if sender.backend == "smtp" and not ours and is_unrelated_host(domain, host):
        yield Problem(
            "foreign_server",
            _(
                "Emails from ${address} are sent through ${host}, which does not belong to "
                "${domain}. Many servers reject such emails.",
                mapping={"address": sender.from_email, "host": host, "domain": domain},
            ),
            Severity.warning,
            CampaignStep.senders,
            _("View sender"),
        )


def _at_name(sender: Sender) -> Iterator[Problem]:
    if not sender.from_name.strip():
        yield Problem(
            "no_from_name",
            _(
                "Emails from ${address} have no From name. Inboxes show only the address.",
                mapping={"address": sender.from_email},
            ),
            Severity.warning,
            CampaignStep.senders,
            _("Set From name"),
        )
