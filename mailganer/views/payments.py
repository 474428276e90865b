"""Notifications of payment providers' servers (webhooks)."""

import structlog
from pyramid.httpexceptions import HTTPRequestEntityTooLarge
from pyramid.request import Request
from pyramid.response import Response

from mailganer.billing import take_payment
from mailganer.db import utcnow
from mailganer.errors import MailganerError, NotFound
from mailganer.web import PUBLIC, ask_outside

from ..web.decorators import view_config

log = structlog.get_logger(__name__)

LARGEST_NEWS = 1024 * 1024  # bytes; providers send a few thousand


@view_config(route_name="payment", request_method="POST", permission=PUBLIC, require_csrf=False)
def payment(request: Request) -> Response:
    """Handle a notification and grant a payment. After any status other than 200 the provider repeats it."""
    provider = request.registry["payments"].get(request.matchdict["name"])
    if provider is None:
        raise NotFound
    if (request.content_length or 0) > LARGEST_NEWS:
        raise HTTPRequestEntityTooLarge
    settings, now = request.registry["settings"], utcnow()
    try:
        body, headers = request.body, request.headers
        paid = ask_outside(
            request, lambda: provider.notified(headers, body, settings=settings, now=now), notice=True
        )
        done = paid and take_payment(request.dbsession, provider.name, paid, settings=settings, now=now)
    except MailganerError as error:
        log.warning("payment.not_granted", provider=provider.name, trouble=str(error))
        raise
    if done:
        log.info("payment.granted", provider=provider.name, account=paid.account_id, plan=done.plan.name)
    return Response("ok", content_type="text/plain", charset="utf-8")
