"""Factories of accounts, senders, lists and subscribers with valid defaults."""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from mailganer.models import (
    Account,
    Campaign,
    Identity,
    Sender,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    Template,
    list_member,
)
from mailganer.subscriber_counts import add_to_counts, count_members
from mailganer.vault import Vault

EMAIL = "<p>Dear {{ first_name|default('friend') }}, <a href='https://example.com/news'>read on</a>.</p>"


class Factory:
    """Creates rows in one session, at one time. They are flushed; ``commit()`` commits them."""

    def __init__(self, session: Session, now: datetime, vault: Vault) -> None:
        self.session, self.now, self.vault = session, now, vault
        self._number = count(1)

    def commit(self) -> None:
        self.session.commit()

    def account(self, email: str = "", **values: Any) -> Account:
        number = next(self._number)
        email = email or f"owner{number}@example.com"
        account = Account(email=email, created_at=self.now, **{"plan": "free", **values})
        account.identities.append(
            Identity(backend="smtp", server="localhost", login=email, created_at=self.now)
        )
        return self._kept(account)

    def sender(self, account: Account, server: Any = None, **values: Any) -> Sender:
        """Create a ready ``smtp`` sender. Without a ``server`` of ``tests.support.smtp`` nothing listens."""
        # Not 127.0.0.1: a running demo on this machine would accept the emails of the tests.
        fields: dict[str, Any] = {"host": "127.9.9.9", "port": 2525, "security": "none"}
        if server is not None:
            fields = dict(server.settings)
        password = str(fields.pop("password", "secret"))
        defaults: dict[str, Any] = {
            "name": "Anna",
            "from_name": "Anna",
            "from_email": "anna@example.com",
            "backend": "smtp",
            "settings": {"username": "anna@example.com", **fields},
            "secrets": self.vault.encrypt(account.id, {"password": password}),
            "created_at": self.now,
            "verified_at": self.now,
        }
        return self._kept(Sender(account_id=account.id, **{**defaults, **values}))

    def list(self, account: Account, name: str = "Readers", **values: Any) -> SubscriberList:
        values = {"created_at": self.now, **values}
        return self._kept(SubscriberList(account_id=account.id, name=name, **values))

    def subscriber(
        self, account: Account, email: str = "", lists: tuple[SubscriberList, ...] = (), **values: Any
    ) -> Subscriber:
        email = email or f"reader{next(self._number)}@example.org"
        defaults = {"email_key": email.lower(), "created_at": self.now, "updated_at": self.now}
        subscriber = self._kept(Subscriber(account_id=account.id, email=email, **{**defaults, **values}))
        add_to_counts(self.session, account.id, None, {subscriber.status: 1})
        for each in lists:
            self._join(each, [subscriber.id], subscriber.created_at)
        return subscriber

    def subscribers(self, account: Account, number: int, *lists: SubscriberList) -> Sequence[int]:
        """Create ``number`` subscribers, ``reader000001@example.org`` and so on; return their ids."""
        rows = [
            {
                "account_id": account.id,
                "email": f"reader{n:06}@example.org",
                "email_key": f"reader{n:06}@example.org",
                "first_name": f"Имя{n}",
                "last_name": f"Фамилия{n}",
                "fields": {"city": f"Город {n}"},
                "status": SubscriberStatus.active,
                "created_at": self.now,
                "updated_at": self.now,
            }
            for n in range(1, number + 1)
        ]
        ids = list(self.session.scalars(insert(Subscriber).returning(Subscriber.id), rows))
        add_to_counts(self.session, account.id, None, {SubscriberStatus.active: number})
        for each in lists:
            self._join(each, ids, self.now)
        return ids

    def template(self, account: Account, name: str = "News", **values: Any) -> Template:
        defaults = {"subject": "News", "html": EMAIL, "created_at": self.now, "updated_at": self.now}
        return self._kept(Template(account_id=account.id, name=name, **{**defaults, **values}))

    def campaign(
        self,
        account: Account,
        lists: tuple[SubscriberList, ...] = (),
        senders: tuple[Sender, ...] = (),
        **values: Any,
    ) -> Campaign:
        """Create a draft with an email that can be sent."""
        defaults = {
            "name": "November",
            "subject": "News for {{ first_name|default('you') }}",
            "html": EMAIL,
            "created_at": self.now,
            "updated_at": self.now,
        }
        known = {column.key for column in Campaign.__table__.columns}
        defaults = {key: value for key, value in defaults.items() if key in known}
        campaign = Campaign(account_id=account.id, **{**defaults, **values})
        campaign.lists.extend(lists)
        campaign.senders.extend(senders)
        return self._kept(campaign)

    def _join(self, lst: SubscriberList, subscribers: Sequence[int], at: datetime) -> None:
        rows = [{"list_id": lst.id, "subscriber_id": each, "added_at": at} for each in subscribers]
        if rows:
            self.session.execute(insert(list_member), rows)
            count_members(self.session, lst.account_id, lst.id, subscribers)

    def _kept(self, thing: Any) -> Any:
        self.session.add(thing)
        self.session.flush()
        return thing


Make = Callable[..., Any]
