"""Log lines for campaign events: planned, started, paused, finished."""

import logging
from collections.abc import Iterable

log = logging.getLogger(__name__)


def note_campaigns(event: str, campaign_ids: Iterable[int], **values: object) -> None:
    """Write one log line per campaign with its id, without addresses or content."""
    for campaign_id in campaign_ids:
        log.info("campaign.%s", event, extra={"campaign": campaign_id, **values})
