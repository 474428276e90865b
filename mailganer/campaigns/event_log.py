"""Lines in the log for what becomes of campaigns: planned, started, paused, finished."""

import logging
from collections.abc import Iterable

log = logging.getLogger(__name__)


def note_campaigns(event: str, campaign_ids: Iterable[int], **values: object) -> None:
    """Write one line for each campaign: its id, and no address and no word of its email."""
    for campaign_id in campaign_ids:
        log.info("campaign.%s", event, extra={"campaign": campaign_id, **values})
