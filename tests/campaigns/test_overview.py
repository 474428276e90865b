from datetime import UTC, datetime, timedelta

from sqlalchemy import inspect

from mailganer.campaigns import list_campaigns
from mailganer.models import CampaignStatus
from mailganer.models import DeliveryStatus as S
from tests.support.sent import sent_campaign
from tests.support.statements import statements


def asked(engine, session, account, **more):
    session.commit()
    session.expunge_all()
    with statements(engine) as seen:
        page = list_campaigns(session, account.id, **more)
        for line in page.items:
            assert [each.name for each in line.campaign.lists] == ["Readers"]
            assert [each.from_email for each in line.campaign.senders] == ["anna@example.com"]
    return seen


def test_a_long_list_asks_no_more_of_the_database_than_a_short_one(engine, session, make, account):
    readers, sender = make.list(account), make.sender(account)
    make.campaign(account, (readers,), (sender,))
    few = asked(engine, session, account)
    for _number in range(9):
        make.campaign(account, (session.merge(readers),), (session.merge(sender),))
    assert len(asked(engine, session, account)) == len(few)


def test_a_campaign_outside_its_sending_hours_waits_and_says_until_when(session, make, account):
    monday = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
    hours = {"days": [1, 2], "from": "09:00", "to": "18:00", "timezone": "UTC"}
    readers = make.list(account)
    campaign = make.campaign(account, (readers,), (make.sender(account),), hours=hours)
    sent_campaign(session, campaign, [make.subscriber(account, lists=(readers,))], monday, [S.pending])
    session.commit()

    def line(now):
        return list_campaigns(session, account.id, now=now).items[0]

    assert (line(monday).held, line(monday).opens_at) == ("waiting", monday + timedelta(hours=13))
    within = monday + timedelta(hours=14)
    assert (line(within).held, line(within).opens_at) == ("", None)
    campaign.status = CampaignStatus.paused
    assert (line(monday).held, line(monday).opens_at) == ("", None)


def test_a_list_without_emails_leaves_them_where_they_are(engine, session, make, account):
    make.campaign(account, (make.list(account),), (make.sender(account),))
    seen = asked(engine, session, account, emails=False)
    assert not any("campaign.html" in statement for statement in seen)
    page = list_campaigns(session, account.id)
    assert not inspect(page.items[0].campaign).unloaded & {"html", "text"}
