"""Sending of a test email from the page of a campaign's email."""

from collections.abc import Callable
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request

from mailganer import campaigns
from mailganer.backends import Outcome, Receipt
from mailganer.campaigns.test_email import PreparedTest
from mailganer.db import utcnow
from mailganer.errors import (
    BackendError,
    Conflict,
    EmailError,
    InputError,
    LimitReached,
    SecretUnreadable,
    _,
)
from mailganer.i18n.sentences import reply_beside
from mailganer.models import Campaign
from mailganer.web import ask_outside, has_waited, in_time

from ..web.decorators import view_config
from .email_page import email_page, recipient_of_preview, recipient_query

LONGEST_TO = 500  # characters of addresses for a test email that are kept in a URL


@view_config(route_name="campaign.test", request_method="POST", renderer="campaigns/email.jinja2")
def test_email(request: Request) -> Any:
    """Send a test email through the real sender. An invalid address is reported at its field."""
    campaign: Campaign = request.context.campaign
    # Browsers keep "#test" of the form's URL: the result is shown there, beside the button.
    back = request.route_path(
        "campaign.email", id=campaign.id, _query=recipient_query(request) | _typed_address(request)
    )
    try:
        # The quota is used and the emails are rendered once, before the mail server is called.
        prepared = None if has_waited(request) else _prepared_test(request)
    except InputError as error:
        request.response.status_int = 422
        return email_page(request, test_wrong=error.fields["to"])
    except (Conflict, EmailError, LimitReached, SecretUnreadable) as error:
        request.flash(error.message, "bad", "test")
        return HTTPSeeOther(back)
    try:
        receipts, recipients = ask_outside(request, _sending(request, prepared))
    except BackendError as error:
        request.flash(_with_reply(error.message, reply_beside(error)), "bad", "test")
        return HTTPSeeOther(back)
    _flash_result(request, receipts, recipients)
    return HTTPSeeOther(back)


def _prepared_test(request: Request) -> PreparedTest:
    to = request.POST.get("to", "").replace(";", ",").split(",")
    return campaigns.prepare_test(
        request.dbsession,
        request.context.campaign,
        [address for address in to if address.strip()],
        settings=request.registry["settings"],
        registry=request.registry["backends"],
        vault=request.registry["vault"],
        now=utcnow(),
        recipient=recipient_of_preview(request),
    )


def _sending(
    request: Request, prepared: PreparedTest | None
) -> Callable[[], tuple[tuple[Receipt, ...], int]]:
    """Return the call that sends the test emails; one that was waited for is not repeated."""
    if prepared is None:
        return lambda: ((), 0)
    return in_time(request, prepared.backend, lambda: (prepared.send(), len(prepared.messages)))


def _typed_address(request: Request) -> dict[str, str]:
    """Return the address of a test email, if not the user's own, for the redirect."""
    to = request.POST.get("to", "").strip()[:LONGEST_TO]
    return {"to": to} if to and to != request.viewer.email else {}


def _with_reply(sentence: str, reply: str) -> str:
    if not reply or reply in str(sentence):
        return sentence
    return _("${sentence} Server reply: ${reply}", mapping={"sentence": sentence, "reply": reply})


def _flash_result(request: Request, receipts: tuple[Receipt, ...], recipients: int) -> None:
    refused = [receipt for receipt in receipts if receipt.outcome is not Outcome.accepted]
    if not refused and len(receipts) == recipients:
        message = _("Test email sent. Check the inbox and the spam folder.")
        request.flash(message, place="test")
        return
    reply = next((receipt.reply for receipt in refused if receipt.reply), "")
    request.flash(_with_reply(_("The test email was not accepted."), reply), "bad", "test")
