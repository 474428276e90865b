from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.sent import sent_campaign, token


@dataclass
class Sent:
    """A campaign with six recipients, and the tokens in their emails."""

    campaign: Any
    subscribers: list[Any]
    deliveries: list[Any]
    tokens: list[str] = field(default_factory=list)


EMAIL = (
    "<p>Dear {{ first_name|default('friend') }},"
    " <a href='https://example.com/news'>read on</a>,"
    " <a href='https://example.com/{{ city }}?for={{ email|urlencode }}'>your city</a>,"
    " <a href='{{ own }}'>your page</a>,"
    " <a href='https://example.com/shop'>shop</a></p>"
)


@pytest.fixture
def send(session, make, account, now):
    """``send(statuses=[...], **campaign_values)``: six recipients got an email an hour ago."""

    def send(statuses=(), delivery_values=None, **values):
        readers = make.list(account, "Readers")
        subscribers = [
            make.subscriber(account, lists=(readers,), first_name=name, fields={"city": city, "own": own})
            for name, city, own in (
                ("Анна", "tver", "https://anna.example/"),
                ("Boris", "новый город", "javascript:alert(1)"),
                ("", "", ""),
                ("Dina", "a/../b", "//evil.example"),
                ("Egor", "x\r\nSet-Cookie: a=b", "https://egor.example/"),
                ("Fedor", "{{ 7*7 }}", "https://fedor.example/"),
            )
        ]
        sender = make.sender(account)
        campaign = make.campaign(account, (readers,), (sender,), **{"html": EMAIL, **values})
        deliveries = sent_campaign(session, campaign, subscribers, now, statuses, **(delivery_values or {}))
        session.commit()
        return Sent(campaign, subscribers, deliveries, [token(each) for each in deliveries])

    return send


@pytest.fixture
def sent(send):
    return send()
