"""Files for the import tests."""

import io
from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from mailganer.audience import run_import, start_import
from mailganer.models import Account, Import, ImportReject, Subscriber, SubscriberList, list_member
from mailganer.settings import Settings


class Bringer:
    """Imports files into one list and reads the results."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        settings: Settings,
        account: Account,
        lst: SubscriberList,
        now: datetime,
    ) -> None:
        self.sessions, self.settings, self.now = sessions, settings, now
        self.account, self.list = account, lst

    def start(self, content: str | bytes, **options) -> int:
        """Start an import; return its id."""
        data = content.encode() if isinstance(content, str) else content
        with self.sessions.begin() as session:
            job = start_import(
                session,
                session.get(Account, self.account.id),
                options.pop("lst", self.list),
                filename=options.pop("filename", "people.csv"),
                stream=io.BytesIO(data),
                uploads=self.settings.uploads,
                now=self.now,
                **options,
            )
            return job.id

    def run(self, import_id: int, **options) -> Import:
        assert run_import(self.sessions, self.settings, import_id, now=lambda: self.now, **options)
        return self.job(import_id)

    def bring(self, content: str | bytes, **options) -> Import:
        """Start an import and run it to its end."""
        return self.run(self.start(content, **options))

    def job(self, import_id: int) -> Import:
        with self.sessions() as session:
            return session.get(Import, import_id)

    def rejects(self, job: Import) -> list[tuple[int, str]]:
        with self.sessions() as session:
            rows = session.execute(
                select(ImportReject.row, ImportReject.code)
                .where(ImportReject.import_id == job.id)
                .order_by(ImportReject.row)
            )
            return [tuple(row) for row in rows]

    def subscribers(self) -> dict[str, Subscriber]:
        """Return the subscribers of the list, by address key."""
        with self.sessions() as session:
            found = session.scalars(
                select(Subscriber)
                .join(list_member, list_member.c.subscriber_id == Subscriber.id)
                .where(list_member.c.list_id == self.list.id)
                .order_by(Subscriber.id)
            )
            return {subscriber.email_key: subscriber for subscriber in found}

    def files(self) -> list[str]:
        """Return the files in the uploads folder."""
        uploads = self.settings.uploads
        return sorted(path.name for path in uploads.iterdir()) if uploads.exists() else []


@pytest.fixture
def bringer(
    sessions: sessionmaker[Session],
    settings: Settings,
    account: Account,
    make_list: Callable,
    make,
    now: datetime,
) -> Bringer:
    lst = make_list(account)
    make.commit()
    return Bringer(sessions, settings, account, lst, now)
