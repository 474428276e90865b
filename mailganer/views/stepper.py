"""Stepper of a campaign: its steps with their states, shown beside every page of the campaign."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pyramid.request import Request

from mailganer import campaigns
from mailganer.audience.recipients import audience_of
from mailganer.campaigns import Check, EmailState, Readiness
from mailganer.db import utcnow
from mailganer.errors import _
from mailganer.i18n.sentences import ngettext
from mailganer.models import ACTIVE_STATES, Campaign, CampaignStatus
from mailganer.web import localization

from .subject_lines import subject_of


@dataclass(frozen=True)
class StepperStep:
    """A step, as ``ui.stepper`` shows it."""

    name: str
    title: str
    href: str
    state: str  # done, ready, missing, problem, todo
    note: str = ""


def campaign_page(
    request: Request,
    step: str,
    check: Check | None = None,
    *,
    readiness: Readiness | None = None,
    broken: Sequence[str] = (),
    audience: int | None = None,
    **values: Any,
) -> dict[str, Any]:
    """What every page of a campaign shows around its own part. ``broken``: steps known to be wrong;
    ``audience``: how many recipients there are, where that is counted already.

    ``readiness`` is what the steps of a draft show. A page without a ``check`` finds it out before it loads
    the rows that it lists."""
    campaign: Campaign = request.context.campaign
    return {
        "campaign": campaign,
        "readiness": readiness,
        "steps": stepper(request, check, readiness, broken, check.audience if check else audience, step),
        # The recipients of a campaign that has started are shown in one place.
        "step": "recipients" if step == "target" and campaign.started_at else step,
        "check": check,
        "audience": audience,
        **values,
    }


def readiness_of(request: Request, audience: int | None = None) -> Readiness:
    """Return what keeps the context's draft from being sent.

    ``audience`` is looked up where it is not given. The email may be compiled: see
    ``db.without_transaction``.
    """
    campaign: Campaign = request.context.campaign
    if campaign.status is not CampaignStatus.draft:
        return Readiness((), ())
    settings, now = request.registry["settings"], utcnow()
    email = campaigns.email_state(request.dbsession, campaign, ours=settings.public_url, now=now)
    return readiness_with(request, email, audience)


def readiness_with(
    request: Request,
    email: EmailState | None,
    audience: int | None,
    unusable: Collection[str] | None = None,
) -> Readiness:
    """Return what keeps the context's draft from being sent, given the state of its email.

    ``audience`` and ``unusable`` variables are looked up where they are not given.
    """
    if request.context.campaign.status is not CampaignStatus.draft:
        return Readiness((), ())
    return campaigns.readiness(
        request.dbsession,
        request.context.campaign,
        email,
        settings=request.registry["settings"],
        registry=request.registry["backends"],
        now=utcnow(),
        audience=audience,
        unusable=unusable,
    )


def stepper(
    request: Request,
    check: Check | None,
    readiness: Readiness | None,
    broken: Sequence[str],
    audience: int | None,
    here: str = "",
) -> tuple[StepperStep, ...]:
    """Five steps of a draft; progress, report, people and email afterwards, the page ``here`` among them.

    Whatever the page, the states are made of the same blocking problems: of ``check``, else of ``readiness``.
    """
    campaign: Campaign = request.context.campaign
    if campaign.status is not CampaignStatus.draft:
        return _afterwards(request, campaign, here)
    if audience is None:
        audience = audience_of(request.dbsession, campaign)
    found = Readiness.of(check) if check else readiness or readiness_of(request, audience)
    return (
        _step(request, "target", _("Recipients"), _recipients_state(found), _number_of(request, audience)),
        _step(request, "email", _("Email"), _email_state(campaign, found), subject_of(campaign)),
        _check_step(request, campaign, found),
        _when_step(request, campaign, found, "when" in broken),
        _step(request, "send", _("Send"), "todo"),
    )


def steps_of_email(request: Request, readiness: Readiness) -> list[tuple[int, StepperStep]]:
    """Return the steps that follow a change of the email, with their places from 1, without a count."""
    steps = stepper(request, None, readiness, (), 0, "email")
    return [(place, step) for place, step in enumerate(steps, 1) if step.name in ("email", "check")]


def next_step(request: Request, step: str) -> str:
    """Return the URL of the step after this one."""
    order = ("target", "email", "check", "when", "send")
    return step_url(request, order[order.index(step) + 1])


def step_url(request: Request, step: str) -> str:
    return str(request.route_path(f"campaign.{step}", id=request.context.campaign.id))


def current_page(request: Request, campaign: Campaign) -> str:
    """Return the URL a campaign opens at: its first unfinished step, its progress, or its report."""
    if campaign.status in ACTIVE_STATES:
        return step_url(request, "progress")
    if campaign.status is not CampaignStatus.draft:
        return step_url(request, "report" if campaign.started_at else "progress")
    if not campaign.lists or not campaign.senders:
        return step_url(request, "target")
    if not campaign.subject.strip() or not (campaign.html.strip() or campaign.text.strip()):
        return step_url(request, "email")
    return step_url(request, "check")


def _afterwards(request: Request, campaign: Campaign, here: str) -> tuple[StepperStep, ...]:
    steps = [_step(request, "email", _("Email"), "done", subject_of(campaign))]
    if campaign.started_at is not None:
        steps.insert(0, _step(request, "report", _("Report"), "done"))
        steps.insert(1, _step(request, "recipients", _("Recipients"), "done"))
    elif campaign.status is CampaignStatus.scheduled or here == "target":
        steps.insert(0, _step(request, "target", _("Recipients"), "done"))
    if campaign.status is not CampaignStatus.finished or here == "progress":
        steps.insert(0, _step(request, "progress", _("Progress"), "done"))
    return tuple(steps)


def _step(request: Request, name: str, title: str, state: str, note: str = "") -> StepperStep:
    return StepperStep(name, request.translate(title), step_url(request, name), state, note)


def _recipients_state(readiness: Readiness) -> str:
    if _MISSING & set(readiness.others):
        return "missing"
    return "problem" if "sender_failing" in readiness.others else "done"


_MISSING = {"no_list", "nobody", "no_sender"}
_OF_TIME = {"past", "too_late"}


def _number_of(request: Request, audience: int) -> str:
    return str(request.localizer.counted(ngettext("${number} recipient", "${number} recipients"), audience))


def _email_state(campaign: Campaign, readiness: Readiness) -> str:
    if not campaign.subject.strip() or not (campaign.html.strip() or campaign.text.strip()):
        return "missing"
    if readiness.email is None:
        return "todo"
    return "problem" if readiness.email else "done"


def _check_step(request: Request, campaign: Campaign, readiness: Readiness) -> StepperStep:
    """Return the step; there is nothing to check while recipients, the sender or the email are missing.

    Only blocking problems are counted: every page of a draft knows them, while warnings need the whole check.
    So the step is never marked as done: there may be warnings.
    """
    is_missing = "missing" in (_recipients_state(readiness), _email_state(campaign, readiness))
    number, words = len(readiness.codes), ""
    if is_missing or (readiness.email is None and not number):
        state = "todo"
    elif number:
        state = "problem"
        words = request.localizer.counted(ngettext("${number} problem", "${number} problems"), number)
    else:
        state, words = "ready", request.translate(_("No problems"))
    return _step(request, "check", _("Check"), state, words)


def _when_step(request: Request, campaign: Campaign, readiness: Readiness, broken: bool) -> StepperStep:
    if broken:  # the time entered is invalid, and the saved one is not what the user chose
        return _step(request, "when", _("When"), "problem")
    if campaign.send_at is None:
        note, state = request.translate(_("Now")), "todo"
    else:
        note, state = localization.plain_datetime(campaign.send_at), "done"
    return _step(request, "when", _("When"), "problem" if _OF_TIME & set(readiness.others) else state, note)
