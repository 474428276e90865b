"""Plan page: usage, the other plans, and payment methods."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.registry import Registry
from pyramid.renderers import render_to_response
from pyramid.request import Request
from pyramid.response import Response

from mailganer import billing
from mailganer.billing import PaymentProvider, PlanGranted, Redirect
from mailganer.db import utcnow
from mailganer.errors import Conflict, InputError, NotFound, _
from mailganer.models import Account
from mailganer.settings import Plan
from mailganer.web import RateLimiter, ask_outside
from mailganer.web.localization import plain_date

from ..web.decorators import view_config
from ..web.error_status import status_of


@view_config(route_name="plan", request_method="GET", renderer="plan.jinja2")
def plan(request: Request) -> dict[str, Any]:
    _require_plans(request)
    return _page(request)


@view_config(route_name="plan.pay", request_method="POST", renderer="plan.jinja2")
def pay(request: Request) -> Any:
    """Handle the form of a payment provider: paid at once, as with a voucher, or at the provider's page."""
    _require_plans(request)
    provider = _provider(request)
    answers = {field.name: request.POST.get(field.name, "")[:500] for field in provider.fields}
    throttle: RateLimiter = request.registry["throttle"]
    account_id = request.context.account.id
    try:
        chosen = _chosen(request) if provider.chooses_plan else None
        begin = partial(_begin, request.registry, provider, account_id, answers, chosen)
        outcome = ask_outside(request, begin, count=lambda: throttle.check_payment(account_id))
    except (InputError, Conflict) as error:
        request.response.status_int = status_of(error)
        return _page(request, refused=provider.name, error=error, answers=answers)
    if isinstance(outcome, PlanGranted):
        request.flash(_plan_message(outcome.plan, outcome.until))
        return HTTPSeeOther(request.route_path("plan"))
    return _lead_to_provider(request, outcome.url)


def _begin(
    registry: Registry,
    provider: PaymentProvider,
    account_id: int,
    answers: Mapping[str, str],
    plan: Plan | None,
) -> PlanGranted | Redirect:
    """Begin a payment in a transaction of its own, which opens only when the provider needs it."""
    with registry["sessions"]() as session:
        account = session.get_one(Account, account_id)
        session.commit()  # end the transaction: the provider may call its own server first
        outcome = provider.begin(
            session, account, answers, plan=plan, settings=registry["settings"], now=utcnow()
        )
        session.commit()
    return outcome


def _lead_to_provider(request: Request, url: str) -> Response:
    """Lead to the provider's page. No redirect, because our CSP forbids forms that end at another site."""
    response = render_to_response("pay_elsewhere.jinja2", {"url": url}, request=request)
    response.headers["Refresh"] = f"0; url={url}"
    return response


def _require_plans(request: Request) -> None:
    """Raise ``NotFound`` if no limits are configured: then there are no plans."""
    if not request.registry["settings"].has_plans:
        raise NotFound


def _provider(request: Request) -> PaymentProvider:
    providers: Mapping[str, PaymentProvider] = request.registry["payments"]
    provider = providers.get(request.matchdict["provider"])
    if provider is None:
        raise NotFound
    return provider


def _chosen(request: Request) -> Plan:
    name, settings = request.POST.get("plan"), request.registry["settings"]
    found: Plan | None = next((plan for plan in settings.plans if plan.name == name), None)
    if found is None:
        raise InputError({"plan": _("Choose one of the plans below.")})
    return found


def _plan_message(plan: Plan, until: datetime) -> str:
    return _(
        "You are on the plan “${plan}” until ${day}.", mapping={"plan": plan.title, "day": plain_date(until)}
    )


def _page(
    request: Request,
    refused: str = "",
    error: InputError | Conflict | None = None,
    answers: dict[str, str] | None = None,
) -> dict[str, Any]:
    account, session, now = request.context.account, request.dbsession, utcnow()
    installed = request.registry["settings"]
    current = billing.plan_of(account, installed, now)
    providers = list(request.registry["payments"].values())
    return {
        "current": current,
        "operator": billing.is_operator(account, installed),
        "ini": installed.ini.name if installed.ini else "production.ini",
        "until": billing.plan_runs_until(account, now),
        "plans": installed.plans,
        "emails": billing.plan_quota(session, account, installed, now),
        "people": billing.usage(session, account, now).subscribers,
        "providers": providers,
        # The provider for buying a plan; without one, plans come with vouchers or from the operator.
        "payable": next((each for each in providers if each.chooses_plan), None),
        "wanted": request.params.get("plan", ""),
        "refused": refused,
        "error": error,
        "fields": error.fields if isinstance(error, InputError) else {},
        "answers": answers or {},
    }
