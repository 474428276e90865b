"""The API as a program sees it, inside the test's own process."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailganer.accounts import create_api_token
from mailganer.models import Account
from tests.support.factories import Factory


class Client:
    """``client.get("lists")`` with the account's token; ``status`` other than 2xx is expected by number."""

    def __init__(self, app: Any, token: str = "") -> None:
        self.app = app
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str, **options: Any) -> Any:
        return self.app.get(f"/api/v1/{path}", headers=self.headers, **options)

    def post(self, path: str, body: Any = None, key: str = "", **options: Any) -> Any:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        if body is None:
            return self.app.post(f"/api/v1/{path}", headers=headers, **options)
        return self.app.post_json(f"/api/v1/{path}", body, headers=headers, **options)

    def patch(self, path: str, body: Any, **options: Any) -> Any:
        return self.app.patch_json(f"/api/v1/{path}", body, headers=self.headers, **options)

    def delete(self, path: str, **options: Any) -> Any:
        return self.app.delete(f"/api/v1/{path}", headers=self.headers, **options)


def client_of(app: Any, session: Session, account: Account, make: Factory) -> Client:
    token, _row = create_api_token(session, account, name="tests", now=make.now)
    session.commit()
    return Client(app, token)


@pytest.fixture
def client(app: Any, session: Session, account: Account, make: Factory) -> Client:
    """Signed in as anna@example.com."""
    return client_of(app, session, account, make)


@pytest.fixture
def stranger(app: Any, session: Session, make: Factory) -> Client:
    """Somebody else, signed in."""
    return client_of(app, session, make.account("boris@example.com"), make)


@pytest.fixture
def nobody(app: Any) -> Client:
    return Client(app)
