"""From a scheduled campaign to emails in recipients' mailboxes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from mailganer.campaigns.counts import campaign_counts
from mailganer.models import Campaign, CampaignStatus, IdempotentResponse


def test_every_recipient_on_the_list_gets_one_email_with_their_own_name(
    due: Callable[..., Campaign], works: Any, smtp_server: Any, statuses: Any, sessions: sessionmaker[Session]
) -> None:
    campaign = due(120)
    works.run()
    assert set(smtp_server.counts.values()) == {1}
    assert len(smtp_server.counts) == 120
    email = smtp_server.to("reader000007@example.org")[0]
    assert email.message["Subject"] == "News for Имя7"
    assert "Dear Имя7" in email.part()
    assert statuses(campaign.id) == {"sent": 120}
    with sessions() as session:
        assert session.get_one(Campaign, campaign.id).status is CampaignStatus.finished
        counts = campaign_counts(session, [campaign.id])[campaign.id]
        assert (counts.sent, counts.total) == (120, 120)


def test_an_answer_of_the_api_is_kept_for_a_day(
    open_works: Callable[..., Any], clock: Any, make: Any, sessions: sessionmaker[Session]
) -> None:
    works = open_works(clock)
    kept = {"fingerprint": bytes(32), "status": 201, "body": {}}
    with sessions.begin() as session:
        account_id = make.account().id
        make.commit()
        for key, age in (("yesterday", 25), ("today", 23)):
            at = clock() - timedelta(hours=age)
            session.add(IdempotentResponse(account_id=account_id, key=key, created_at=at, **kept))
    works.tick()
    with sessions() as session:
        assert session.scalars(select(IdempotentResponse.key)).all() == ["today"]
    clock.forward(hours=2)
    works.tick()
    with sessions() as session:
        assert session.scalars(select(IdempotentResponse.key)).all() == []
