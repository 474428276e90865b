"""Paging of collections."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.support.factories import Factory

from ..fixtures.api import client_of

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_page_holds_what_was_asked_for_and_500_at_most(app: Any, session: Session, make: Factory) -> None:
    account = make.account()
    lst = make.list(account)
    make.subscribers(account, 501, lst)
    make.commit()
    path, anna = f"lists/{lst.id}/subscribers", client_of(app, session, account, make)
    assert len(anna.get(path).json["items"]) == 50
    for limit in (500, 501, 10**30):
        page = anna.get(f"{path}?limit={limit}").json
        assert len(page["items"]) == 500, limit
        assert len(anna.get(f"{path}?limit={limit}&after={page['next']}").json["items"]) == 1
    assert anna.get(f"{path}?after=&limit=&status=&query=").json == anna.get(path).json, "left out"
    for limit in ("0", "-1", "ten", "1.5", "9" * 5000):
        answer = anna.get(f"{path}?limit={limit}", status=422).json
        assert [each["field"] for each in answer["errors"]] == ["limit"]
