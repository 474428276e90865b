"""Sample subscribers for the demo, so that an email can be tried without a file."""

from datetime import datetime

from sqlalchemy.orm import Session

from ..models import Account, SubscriberList
from ..settings import Settings
from .lists import create_list
from .subscribers import add_subscriber

# Reserved domains (RFC 2606): emails to them reach no one. Each list includes subscribers without a first
# name, a birthday or a city, as real lists do.
SAMPLES = {
    "en": (
        "Example people",
        (
            ("alice.weaver@example.org", "Alice", "Weaver", "1990-05-14", "Leeds"),
            ("ben.carter@example.org", "Ben", "Carter", "1984-11-02", "Dublin"),
            ("chloe.martin@example.net", "Chloe", "Martin", "", "Oslo"),
            ("daniel.fox@example.net", "Daniel", "Fox", "1979-02-28", ""),
            ("office@example.com", "", "", "", "London"),
            ("emma.hughes@example.org", "Emma", "Hughes", "2001-07-19", "Cork"),
            ("finn.oneill@example.net", "Finn", "O'Neill", "1995-12-24", "Galway"),
            ("grace.kim@example.org", "Grace", "Kim", "1988-03-08", "Toronto"),
        ),
    ),
    "ru": (
        "Вымышленные люди",
        (
            ("anna.ivanova@example.org", "Анна", "Иванова", "1990-05-14", "Псков"),
            ("petr.yolkin@example.org", "Пётр", "Ёлкин", "1984-11-02", "Тверь"),
            ("maria.tsoy@example.net", "Мария", "Цой", "", "Казань"),
            ("fedor.shchedrin@example.net", "Фёдор", "Щедрин", "1979-02-28", ""),
            ("office@example.com", "", "", "", "Москва"),
            ("olga.eikhenbaum@example.org", "Ольга", "Эйхенбаум", "2001-07-19", "Пермь"),
            ("yuri.dalny@example.net", "Юрий", "Дальний-Восточный", "1995-12-24", "Владивосток"),
            ("zoya.kim@example.org", "Зоя", "Ким", "1988-03-08", "Томск"),
        ),
    ),
}


def bring_samples(
    session: Session, account: Account, *, locale: str, now: datetime, settings: Settings
) -> SubscriberList:
    """Create a list of sample subscribers in the user's language."""
    name, people = SAMPLES.get(locale, SAMPLES["en"])
    lst = create_list(session, account.id, name=name, now=now)
    for email, first_name, last_name, birthday, city in people:
        add_subscriber(
            session,
            account,
            email=email,
            first_name=first_name,
            last_name=last_name,
            birthday=birthday or None,
            fields={"city": city} if city else {},
            lists=[lst],
            now=now,
            settings=settings,
        )
    return lst
