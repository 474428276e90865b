"""Two people on one installation: anna looks for what boris has."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailganer.accounts import create_api_token
from mailganer.models import Import

from ..support.factories import Factory
from ..views.conftest import anna, sign_in  # noqa: F401 - fixtures


@pytest.fixture
def of_boris(make: Factory, session: Session, now: datetime) -> dict[str, int]:
    """The id of one thing of each kind that belongs to boris, by the class that loads it."""
    boris = make.account("boris@example.com")
    lst, sender = make.list(boris, "Boris's own"), make.sender(boris)
    person = make.subscriber(boris, "secret.reader@example.org", (lst,))
    campaign = make.campaign(boris, (lst,), (sender,))
    imported = Import(account_id=boris.id, list_id=lst.id, **_import_values(now))
    session.add(imported)
    session.flush()
    _token, token = create_api_token(session, boris, name="his", now=now)
    template = make.template(boris)
    make.commit()
    return {
        "CampaignContext": campaign.id,
        "DeliveryContext": campaign.id,
        "ListContext": lst.id,
        "PersonContext": person.id,
        "ImportContext": imported.id,
        "TemplateContext": template.id,
        "SenderContext": sender.id,
        "TokenContext": token.id,
    }


def _import_values(now: datetime) -> dict[str, Any]:
    known = {column.key for column in Import.__table__.columns}
    values: dict[str, Any] = {"filename": "his.csv", "created_at": now, "status": "done", "path": "his.csv"}
    return {key: value for key, value in values.items() if key in known}
