"""A draft, and a campaign that is being sent, for the tests of pages."""

import pytest
from sqlalchemy import select

from mailganer.db import utcnow
from mailganer.models import (
    Account,
    Batch,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Reason,
    Sender,
    first_delivery_id,
)


@pytest.fixture
def owner(anna, read):
    return read(select(Account))[0]


@pytest.fixture
def newsletter(make, owner):
    newsletter = make.list(owner, "Newsletter")
    make.subscriber(owner, "olga@example.org", (newsletter,), first_name="Ольга")
    make.subscriber(owner, "pyotr@example.org", (newsletter,))
    make.commit()
    return newsletter


@pytest.fixture
def draft(make, read, owner, newsletter):
    draft = make.campaign(owner, (newsletter,), tuple(read(select(Sender))))
    make.commit()
    return draft


@pytest.fixture
def again(session):
    """``again(campaign)``: the current row of the database."""

    def again(campaign):
        session.commit()
        session.refresh(campaign)
        assert campaign.lists is not None  # loaded while the transaction is open
        session.commit()
        return campaign

    return again


@pytest.fixture
def under_way(make, session, draft):
    """A campaign to 1,000 recipients: 600 sent, two in doubt."""
    draft.status, draft.started_at, draft.message_domain = CampaignStatus.sending, utcnow(), "example.com"
    first = first_delivery_id(draft.id)
    counts = {"pending": 390, "sent": 600, "failed": 8, "in_doubt": 2}
    session.add(Batch(campaign_id=draft.id, number=1, first_id=first, last_id=first + 999, **counts))
    for n in range(2):
        session.add(
            Delivery(
                id=first + n,
                campaign_id=draft.id,
                email=f"doubt{n}@example.org",
                email_key=f"doubt{n}@example.org",
                token=bytes([n] * 16),
                status=DeliveryStatus.in_doubt,
                reason=Reason.disconnected,
                dated_at=utcnow(),
                settled_at=utcnow(),
            )
        )
    session.commit()
    return draft
