"""Sentences for the reasons why an email was not delivered."""

from collections.abc import Mapping

from ..errors import _
from ..models import Reason

_SENTENCES: Mapping[Reason, str] = {
    Reason.refused: _("The server does not accept emails for this address."),
    Reason.expired: _("The server deferred the email for a whole day."),
    Reason.interrupted: _("Sending was interrupted before the server replied."),
    Reason.disconnected: _("The connection was lost before the server replied."),
    Reason.unsubscribed: _("Unsubscribed before the email was sent."),
    Reason.bounced: _("An earlier email to this address bounced."),
    Reason.complained: _("Marked an earlier email as spam."),
    Reason.erased: _("Deleted before the email was sent."),
    Reason.unconfirmed: _("The subscription is not confirmed."),
    Reason.render_error: _("The email could not be rendered with this recipient's data."),
    Reason.address: _("The address is not valid."),
    Reason.cancelled: _("The campaign was cancelled before the email was sent."),
}


def delivery_sentence(reason: Reason | str | None) -> str:
    """Return the sentence for a reason, or "" without one."""
    return _SENTENCES[Reason(reason)] if reason else ""
