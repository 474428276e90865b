"""Sample subscribers for the demo, so that an email can be tried without a file."""

from datetime import datetime

from sqlalchemy.orm import Session

from ..i18n.sample_data import sample_list_name, sample_subscribers
from ..models import Account, SubscriberList
from ..settings import Settings
from .lists import create_list
from .subscribers import add_subscriber


def add_sample_subscribers(
    session: Session, account: Account, *, locale: str, now: datetime, settings: Settings
) -> SubscriberList:
    """Create a list of sample subscribers in the user's language.

    Their addresses have reserved domains (RFC 2606): emails to them reach no one. Each list includes
    subscribers without a first name, a birthday or a city, as real lists do.
    """
    lst = create_list(session, account.id, name=sample_list_name(locale), now=now)
    for sample in sample_subscribers(locale):
        add_subscriber(
            session,
            account,
            email=sample.email,
            first_name=sample.first_name,
            last_name=sample.last_name,
            birthday=sample.birthday or None,
            fields={"city": sample.city} if sample.city else {},
            lists=[lst],
            now=now,
            settings=settings,
        )
    return lst
