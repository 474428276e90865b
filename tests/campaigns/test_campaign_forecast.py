from mailganer.accounts import sender_limits
from mailganer.campaigns.campaign_forecast import EMAILS_A_SECOND, forecast, pace
from mailganer.models import DeliveryStatus
from tests.support.sent import sent_campaign


def smtp(make, account, host, **values):
    fields = {"host": host, "port": 465, "security": "tls", "username": account.email}
    return make.sender(account, settings=fields, **values)


def test_a_provider_that_wants_one_connection_is_as_quick_as_one(make, account, registry):
    yandex = smtp(make, account, "smtp.yandex.ru")
    assert sender_limits(yandex, registry).max_connections == 1
    assert pace(yandex, registry) == EMAILS_A_SECOND
    assert pace(smtp(make, account, "smtp.example.com"), registry) == 2 * EMAILS_A_SECOND


def test_a_known_pace_says_more_than_connections(make, account, registry):
    assert pace(smtp(make, account, "smtp.example.com", per_second=3.0), registry) == 3.0
    assert pace(smtp(make, account, "smtp.example.com", per_second=3.0, slowed_to=0.5), registry) == 0.5
    assert pace(smtp(make, account, "smtp.example.com", slowed_to=0.5), registry) == 0.5


def test_a_campaign_that_is_being_sent_through_the_same_account_is_reckoned_with(
    session, make, account, settings, registry, now
):
    sender = make.sender(account, per_second=1.0)
    readers = make.list(account)
    subscribers = [make.subscriber(account, f"p{n}@example.org", (readers,)) for n in range(60)]
    draft = make.campaign(account, (readers,), (sender,))
    others = make.campaign(account, (readers,), (make.sender(account, from_email="boris@example.com"),))
    sent_campaign(session, others, subscribers, now, [DeliveryStatus.pending] * 60)

    def minutes():
        found = forecast(session, draft, 60, settings=settings, registry=registry, now=now)
        return (found.finishes_at - now).total_seconds() / 60

    assert minutes() == 1  # emails sent through another account do not use this one's limit
    beside = make.campaign(account, (readers,), (sender,))
    sent_campaign(session, beside, subscribers, now, [DeliveryStatus.pending] * 60)
    assert minutes() == 2
