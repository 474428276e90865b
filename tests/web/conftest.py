"""Two accounts of one installation: anna requests rows of boris."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mailganer.accounts import create_api_token
from mailganer.models import Account, Import

from ..support.factories import Factory


@pytest.fixture
def of_boris(make: Factory, session: Session, now: datetime) -> dict[str, int]:
    """The ids of one row of each kind of boris, by the class that loads it."""
    return things_of(make.account("boris@example.com"), make, session, now)


@pytest.fixture
def of_anna(anna: Any, make: Factory, session: Session, now: datetime) -> dict[str, int]:
    """The same for anna, who is signed in."""
    return things_of(session.scalars(select(Account)).one(), make, session, now)


def things_of(owner: Account, make: Factory, session: Session, now: datetime) -> dict[str, int]:
    lst, sender = make.list(owner, "Somebody's own"), make.sender(owner)
    subscriber = make.subscriber(owner, "secret.reader@example.org", (lst,))
    campaign = make.campaign(owner, (lst,), (sender,))
    imported = Import(account_id=owner.id, list_id=lst.id, **_import_values(now))
    session.add(imported)
    session.flush()
    _token, token = create_api_token(session, owner, name="own", now=now)
    template = make.template(owner)
    make.commit()
    return {
        "CampaignContext": campaign.id,
        "ListContext": lst.id,
        "SubscriberContext": subscriber.id,
        "ImportContext": imported.id,
        "TemplateContext": template.id,
        "SenderContext": sender.id,
        "TokenContext": token.id,
        "DeliveryContext": campaign.id,
    }


def _import_values(now: datetime) -> dict[str, Any]:
    known = {column.key for column in Import.__table__.columns}
    values: dict[str, Any] = {"filename": "his.csv", "created_at": now, "status": "done", "path": "his.csv"}
    return {key: value for key, value in values.items() if key in known}
