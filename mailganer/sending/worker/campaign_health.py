"""Pause a campaign whose email cannot be rendered, or is refused for all its recipients."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from ...backends import Receipt
from ...errors import _
from ...models import LARGEST_CAMPAIGN
from . import pausing
from .receipt_outcomes import MOST_NOT_RENDERED, RefusalStreaks, WindowResult
from .window_queue import Answer


class CampaignHealth:
    """Streaks of failures of the campaigns that one lane sends in a turn."""

    def __init__(self) -> None:
        self._streaks: dict[int, RefusalStreaks] = {}

    def apply(
        self,
        session: Session,
        campaign_id: int,
        answers: Sequence[Answer | None],
        window_result: WindowResult,
        now: datetime,
    ) -> None:
        """Pause the campaign, within the caller's transaction, when a window shows that its email fails."""
        if window_result.unknown_mailboxes is not None:
            _ask_about_unknown(session, window_result.unknown_mailboxes, window_result.doubted, now)
        streaks = window_result.streaks = self._streaks.get(campaign_id, RefusalStreaks()).copy()
        for answer in answers:
            if answer is not None:
                streaks.note(answer)
        reason = _reason_to_pause(window_result)
        if reason is not None:
            pausing.pause_campaign_with_reason(session, campaign_id, reason, now)
            window_result.streaks = RefusalStreaks()

    def remember(self, campaign_id: int, window_result: WindowResult) -> None:
        """Keep the streaks of a committed window. A settlement that is retried counts nothing twice."""
        self._streaks[campaign_id] = window_result.streaks


def _reason_to_pause(window_result: WindowResult) -> str | None:
    """Return why the campaign is paused, as a sentence for the user; None if sending continues."""
    if window_result.streaks.not_rendered >= MOST_NOT_RENDERED:
        return _(
            "The email could not be rendered for ${number} recipients in a row. Check it, then "
            "resume sending.",
            mapping={"number": window_result.streaks.not_rendered},
        )
    if window_result.refused_email is not None and window_result.only_domain:
        return _(
            "The mail server rejects this email for all recipients tried at ${domain}, and no recipients "
            "at other domains are left. Check the email and the account, then resume. Server reply: ${reply}",
            mapping={"domain": window_result.only_domain, "reply": window_result.refused_email.reply},
        )
    if window_result.refused_email is not None:
        return _(
            "The mail server rejects this email for every recipient. Server reply: ${reply}",
            mapping={"reply": window_result.refused_email.reply},
        )
    if window_result.refused_alone is not None:
        return _(
            "The mail server rejected the only remaining recipient, but the reason may be your "
            "account or the email. Check both, then resume: the recipient is tried once more. "
            "Server reply: ${reply}",
            mapping={"reply": window_result.refused_alone.reply},
        )
    if window_result.refused_for_a_day is not None:
        return _(
            "The mail server has rejected all remaining recipients for a day. Check the account, "
            "the email and the list, then resume: recipients rejected again count as "
            "undeliverable. Server reply: ${reply}",
            mapping={"reply": window_result.refused_for_a_day.reply},
        )
    return None


def _ask_about_unknown(session: Session, receipt: Receipt, doubted: Sequence[int], now: datetime) -> None:
    """Pause the campaigns so that a user decides about recipients none of whom has a mailbox."""
    sentence = _(
        "The mail server reported ${number} recipients in a row from different parts of the "
        "list as nonexistent. Check the list and the account, then resume: they are tried "
        "once more, and a second rejection is final. Server reply: ${reply}",
        mapping={"number": len(doubted), "reply": receipt.reply},
    )
    for campaign_id in sorted({each // LARGEST_CAMPAIGN for each in doubted}):
        pausing.pause_campaign_with_reason(session, campaign_id, sentence, now)
