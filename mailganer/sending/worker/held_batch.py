"""The batch that a lane holds: claimed for one campaign, released when another campaign has its turn."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Table, bindparam, select
from sqlalchemy.orm import Session

from ... import ledger
from ...campaigns.campaign_shares import WindowChoice
from ...ledger import Claim, RecipientSelection
from ...models import Campaign
from ..context import SendingContext
from .renderer_cache import RendererCache


class HeldBatch:
    """The claim of one lane, if it holds a batch, and how recipients are selected from it."""

    def __init__(self, context: SendingContext, sender_id: int, renderers: RendererCache) -> None:
        self.claim: Claim | None = None
        self.selection = RecipientSelection.in_order
        self.other_than: Collection[str] = ()  # domains, for ``RecipientSelection.other_domain``
        self._context, self._sender_id, self._renderers = context, sender_id, renderers

    def release(self, session: Session) -> None:
        """Release the batch, if any is held."""
        if self.claim is not None:
            ledger.release(session, self.claim)
            self.claim = None

    def claim_first(
        self,
        session: Session,
        line: Sequence[WindowChoice],
        selections: Sequence[RecipientSelection],
        now: datetime,
        other_than: Collection[str] = (),
    ) -> WindowChoice | None:
        """Keep or claim a batch of the first campaign in line with a recipient to select; return its choice.

        None when there is no such batch, or when the email of the first one has to be compiled.
        """
        for self.selection in selections:
            is_other = self.selection is RecipientSelection.other_domain
            self.other_than = other_than if is_other else ()
            for choice in line:
                if self._claim_batch_of(session, choice.campaign_id, now):
                    return choice
                if self._renderers.missing is not None:
                    return None  # a batch is claimed only together with a window of it
        self.release(session)
        return None

    def _claim_batch_of(self, session: Session, campaign_id: int, now: datetime) -> bool:
        """Keep or claim a batch of this campaign with a recipient to select; return whether there is one."""
        until = self._context.leased_until(now)
        if self.claim is not None and self.claim.campaign_id == campaign_id:
            if not ledger.hold(session, self.claim, until):
                self.claim = None
            elif self.selection not in _FROM_ANYWHERE and self._has_recipient_to_select(
                session, self.claim, now
            ):
                return True
        self.release(session)
        frozen_email_id = session.scalar(_FROZEN_EMAIL, {"id": campaign_id})
        if frozen_email_id and not self._renderers.is_compiled(frozen_email_id):
            return False
        self.claim = ledger.claim(
            session, self._sender_id, campaign_id, now, until, self.selection, self.other_than
        )
        return self.claim is not None

    def _has_recipient_to_select(self, session: Session, claim: Claim, now: datetime) -> bool:
        return self.selection is not RecipientSelection.untried or ledger.has_untried(session, claim, now)


_FROM_ANYWHERE = (RecipientSelection.sample, RecipientSelection.other_domain)
_CAMPAIGNS = cast(Table, Campaign.__table__)
_FROZEN_EMAIL = select(_CAMPAIGNS.c.frozen_email_id).where(_CAMPAIGNS.c.id == bindparam("id"))
