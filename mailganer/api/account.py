"""Sign-in with a mail account, and the account with its plan and usage."""

from typing import Any

from pyramid.request import Request

from .. import accounts, billing, web
from ..backends import Backend, lists_among, require_known
from ..db import utcnow
from ..errors import InputError, _
from ..models import Account
from .senders import used
from .serializers import Shape, sender_shape
from .view import api_view

TOKEN_NAME = "API sign-in"  # noqa: S105 - a label, as shown in the account's settings


# The response is not stored for the Idempotency-Key: tokens are shown once and never stored in plain text, so
# each sign-in creates a new one.
@api_view("api.login", "POST", permission=web.PUBLIC, once=False)
def login(request: Request) -> dict[str, Any]:
    fields, registry = dict(request.openapi_validated.body), request.registry["backends"]
    email = str(fields.pop("email"))
    backend = str(fields.pop("backend", "") or registry.for_email(email).name)
    opened = web.sign_in(
        request, backend, email, registry.completed(backend, email, _plain(fields, registry.get(backend)))
    )
    token, _row = accounts.create_api_token(request.dbsession, opened.account, name=TOKEN_NAME, now=utcnow())
    return {
        "token": token,
        "account": account_shape(request, opened.account),
        "sender": sender_shape(opened.sender, used(request, opened.sender)),
    }


@api_view("api.account", "GET")
def account(request: Request) -> Shape:
    return account_shape(request, request.context.account)


def account_shape(request: Request, account: Account) -> Shape:
    now = utcnow()
    plan = billing.plan_of(account, request.registry["settings"], now)
    usage = billing.usage(request.dbsession, account, now)
    return {
        "email": account.email,
        "plan": plan.name,
        "limits": {"per_day": plan.per_day, "max_subscribers": plan.max_subscribers},
        "usage": {"last_24h": usage.last_24h, "subscribers": usage.subscribers},
    }


def _plain(fields: dict[str, Any], backend: type[Backend]) -> dict[str, Any]:
    """Return the fields. Reject unknown and nested ones, except lists where the backend takes lists."""
    require_known(backend, fields, beside=("email", "backend"))
    lists = lists_among(backend.Settings)
    wrong = {
        name: _("Enter a plain value, not a list or an object.")
        for name, value in fields.items()
        if isinstance(value, dict) or (isinstance(value, list) and name not in lists)
    }
    if wrong:
        raise InputError(wrong)
    return fields
