"""Sentences for the reasons why an email was not delivered."""

from collections.abc import Mapping

from ..errors import _
from ..models import Reason

_SENTENCES: Mapping[Reason, str] = {
    Reason.refused: _("The server does not take emails for this address."),
    Reason.expired: _("The server put the email off for a whole day."),
    Reason.interrupted: _("Sending was interrupted before the server's answer came."),
    Reason.disconnected: _("The connection broke before the server's answer came."),
    Reason.unsubscribed: _("Unsubscribed before the email's turn came."),
    Reason.bounced: _("An earlier email to this address came back."),
    Reason.complained: _("Called an earlier email spam."),
    Reason.erased: _("Was deleted before the email's turn came."),
    Reason.unconfirmed: _("Has not confirmed the subscription."),
    Reason.render_error: _("The email could not be made with this person's data."),
    Reason.address: _("No email can be sent to such an address."),
    Reason.cancelled: _("The campaign was stopped before the email's turn came."),
}


def delivery_sentence(reason: Reason | str | None) -> str:
    """Return the sentence for a reason, or "" without one."""
    return _SENTENCES[Reason(reason)] if reason else ""
