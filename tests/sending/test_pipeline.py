"""From a scheduled campaign to letters in readers' mailboxes."""

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from mailganer.campaigns.counts import campaign_counts
from mailganer.models import Campaign, CampaignStatus


def test_everybody_on_the_list_gets_one_letter_with_their_own_name(
    due: Callable[..., Campaign], works: Any, smtp_server: Any, statuses: Any, sessions: sessionmaker[Session]
) -> None:
    campaign = due(120)
    works.run()
    assert set(smtp_server.counts.values()) == {1}
    assert len(smtp_server.counts) == 120
    letter = smtp_server.to("reader000007@example.org")[0]
    assert letter.message["Subject"] == "News for Имя7"
    assert "Dear Имя7" in letter.part()
    assert statuses(campaign.id) == {"sent": 120}
    with sessions() as session:
        assert session.get_one(Campaign, campaign.id).status is CampaignStatus.finished
        counts = campaign_counts(session, [campaign.id])[campaign.id]
        assert (counts.sent, counts.total) == (120, 120)
