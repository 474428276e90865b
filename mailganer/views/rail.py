"""The steps of a campaign at the side of its pages: what is done, what is missing, where one is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyramid.request import Request

from mailganer import i18n
from mailganer.audience.recipients import audience_of
from mailganer.campaigns import Check
from mailganer.errors import _
from mailganer.models import UNDER_WAY, Campaign, CampaignStatus

from .plurals import counted, ngettext
from .words import subject_of


@dataclass(frozen=True)
class RailStep:
    """One step, as ``ui.stepper`` shows it."""

    name: str
    title: str
    href: str
    state: str  # done, missing, problem, todo
    note: str = ""


def campaign_page(
    request: Request,
    step: str,
    check: Check | None = None,
    *,
    broken: Sequence[str] = (),
    audience: int | None = None,
    **values: Any,
) -> dict[str, Any]:
    """What every page of a campaign shows around its own part. ``broken``: steps known to be wrong;
    ``audience``: how many people get it, where that is counted already."""
    campaign: Campaign = request.context.campaign
    return {
        "campaign": campaign,
        "steps": rail(request, check, broken, check.audience if check else audience, step),
        # Whom a campaign went to is shown in one place once it has started.
        "step": "recipients" if step == "people" and campaign.started_at else step,
        "check": check,
        "audience": audience,
        **values,
    }


def rail(
    request: Request,
    check: Check | None,
    broken: Sequence[str],
    audience: int | None,
    here: str = "",
) -> tuple[RailStep, ...]:
    """Five steps of a draft; progress, report, people and letter afterwards, the page ``here`` among them."""
    campaign: Campaign = request.context.campaign
    if campaign.status is not CampaignStatus.draft:
        return _afterwards(request, campaign, here)
    if audience is None:
        audience = audience_of(request.dbsession, campaign)
    return (
        _step(
            request,
            "people",
            _("People"),
            _people_state(campaign, audience, check),
            _number_of(request, audience),
        ),
        _step(
            request,
            "letter",
            _("Letter"),
            _letter_state(campaign, check, "letter" in broken),
            subject_of(campaign),
        ),
        _step(request, "check", _("Check"), _check_state(check), _check_note(request, check)),
        _when_step(request, campaign, "when" in broken),
        _step(request, "send", _("Send"), "todo"),
    )


def next_step(request: Request, step: str) -> str:
    """The address of the step after this one."""
    order = ("people", "letter", "check", "when", "send")
    return step_url(request, order[order.index(step) + 1])


def step_url(request: Request, step: str) -> str:
    return request.route_path(f"campaign.{step}", id=request.context.campaign.id)


def current_page(request: Request, campaign: Campaign) -> str:
    """Where a campaign opens: at the first step that is not done, at its progress, or at its report."""
    if campaign.status in UNDER_WAY:
        return step_url(request, "progress")
    if campaign.status is not CampaignStatus.draft:
        return step_url(request, "report" if campaign.started_at else "progress")
    if not campaign.lists or not campaign.senders:
        return step_url(request, "people")
    if not campaign.subject.strip() or not (campaign.html.strip() or campaign.text.strip()):
        return step_url(request, "letter")
    return step_url(request, "check")


def letter_step(request: Request, *, broken: bool) -> tuple[int, RailStep]:
    """Return the step of the email, with its place from 1, without counting anybody."""
    steps = rail(request, None, ("letter",) if broken else (), 0, "letter")
    return next((place, step) for place, step in enumerate(steps, 1) if step.name == "letter")


def _afterwards(request: Request, campaign: Campaign, here: str) -> tuple[RailStep, ...]:
    steps = [_step(request, "letter", _("Letter"), "done", subject_of(campaign))]
    if campaign.started_at is not None:
        steps.insert(0, _step(request, "report", _("Report"), "done"))
        steps.insert(1, _step(request, "recipients", _("People"), "done"))
    elif campaign.status is CampaignStatus.scheduled or here == "people":
        steps.insert(0, _step(request, "people", _("People"), "done"))
    if campaign.status is not CampaignStatus.finished or here == "progress":
        steps.insert(0, _step(request, "progress", _("Progress"), "done"))
    return tuple(steps)


def _step(request: Request, name: str, title: str, state: str, note: str = "") -> RailStep:
    return RailStep(name, request.translate(title), step_url(request, name), state, note)


def _people_state(campaign: Campaign, audience: int, check: Check | None) -> str:
    if not (audience and campaign.senders):
        return "missing"
    return "problem" if check and any(each.step == "people" for each in check.blocking) else "done"


def _number_of(request: Request, audience: int) -> str:
    return counted(request, ngettext("${number} person", "${number} people"), audience)


def _letter_state(campaign: Campaign, check: Check | None, broken: bool) -> str:
    if not campaign.subject.strip() or not (campaign.html.strip() or campaign.text.strip()):
        return "missing"
    found = check and any(problem.step == "letter" for problem in check.blocking)
    return "problem" if broken or found else "done"


def _check_state(check: Check | None) -> str:
    if check is None:
        return "todo"
    return "done" if check.ok else "problem"


def _check_note(request: Request, check: Check | None) -> str:
    if check is None or not check.open:
        return ""
    if check.ok:
        return counted(
            request,
            ngettext("${number} thing to look at", "${number} things to look at"),
            len(check.open),
        )
    return counted(request, ngettext("${number} problem", "${number} problems"), len(check.blocking))


def _when_step(request: Request, campaign: Campaign, broken: bool) -> RailStep:
    if broken:  # what was chosen is no time, and what is saved was not chosen
        return _step(request, "when", _("When"), "problem")
    if campaign.send_at is None:
        return _step(request, "when", _("When"), "todo", request.translate(_("Now")))
    return _step(request, "when", _("When"), "done", i18n.plain_datetime(campaign.send_at))
