"""A subscriber with many spellings of an address and on many lists gets one email."""

import io
import unicodedata
from typing import Any

import pytest

from mailganer.audience import run_import, start_import
from mailganer.models import Account, CampaignStatus, Import, ImportStatus
from tests.sending.scripted import Script

JOSE = "jos\N{LATIN SMALL LETTER E WITH ACUTE}"

SPELLINGS = {
    "case": ("A@X.example.com", "a@x.example.com", " a@X.EXAMPLE.com "),
    "a domain in emails and as it travels": (
        "bob@m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.de",
        "bob@xn--mnchen-3ya.de",
        "BOB@M\N{LATIN CAPITAL LETTER U WITH DIAERESIS}NCHEN.DE",
    ),
    "a domain in Cyrillic": ("ivan@почта.рф", "Ivan@ПОЧТА.РФ", "ivan@xn--80a1acny.xn--p1ai"),
    "one character or two": (
        f"{JOSE}@example.org",
        unicodedata.normalize("NFD", f"{JOSE}@example.org"),
        f"{JOSE.upper()}@Example.org",
    ),
    "invisible characters around it": ("eve@example.org", "\ufeffeve@example.org", "eve@example.org\u200b"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_subscriber_on_three_lists_under_three_spellings_gets_one_email(
    make: Any,
    sessions: Any,
    settings: Any,
    open_works: Any,
    clock: Any,
    script: Script,
    deliveries: Any,
    reload: Any,
    spelling: str,
) -> None:
    account = make.account("anna@example.com", plan="pro")
    lists = tuple(make.list(account, name) for name in ("A", "B", "C"))
    sender = make.sender(account)
    campaign = make.campaign(account, lists, (sender,), status=CampaignStatus.scheduled, send_at=make.now)
    make.commit()
    for lst, email in zip(lists, SPELLINGS[spelling], strict=True):
        content = f"email\n{email}\nother-{lst.id}@example.org\n".encode()
        with sessions.begin() as session:
            owner = session.get_one(Account, account.id)
            brought = start_import(
                session,
                owner,
                session.merge(lst, load=False),
                filename="people.csv",
                stream=io.BytesIO(content),
                uploads=settings.uploads,
                now=make.now,
            ).id
        assert run_import(sessions, settings, brought, now=lambda: make.now)
        with sessions() as session:
            row = session.get_one(Import, brought)
            assert (row.status, row.rejected) == (ImportStatus.done, 0), row.error
    open_works(clock, script).run(4)
    assert reload(campaign).status is CampaignStatus.finished
    rows = deliveries(campaign.id)
    assert len(rows) == 4
    assert set(script.got.values()) == {1}
    assert {row.status for row in rows} == {"sent"}
    assert len(script.got) == 4
