"""Every recipient of a campaign has one row in its ledger, however the planning went."""

from typing import Any

import pytest
from sqlalchemy import text

from mailganer.models import Subscriber, SubscriberStatus
from mailganer.sending.scheduler import plan as planning
from mailganer.sending.scheduler.tick import tick

from ..support.ports import wait_until

RECIPIENTS = 25
OTHER_CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def campaign(due: Any, works: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Started, and to be planned in pieces of ten."""
    monkeypatch.setattr(planning, "CHUNK", 10)
    campaign = due(RECIPIENTS)
    tick(works.context)
    return campaign


def test_pieces_make_one_row_for_each_with_a_token_of_its_own(
    campaign: Any, works: Any, deliveries: Any
) -> None:
    assert planning.plan(works.context, campaign.id)
    rows = deliveries(campaign.id)
    assert [row.email for row in rows] == [f"reader{n:06}@example.org" for n in range(1, RECIPIENTS + 1)]
    assert [row.id for row in rows] == list(range(rows[0].id, rows[0].id + RECIPIENTS))
    assert {len(row.token) for row in rows} == {16}
    assert len({row.token for row in rows}) == RECIPIENTS


def test_two_campaigns_give_the_same_recipients_different_tokens(
    campaign: Any, due: Any, works: Any, deliveries: Any, session: Any, make: Any
) -> None:
    again = make.campaign(campaign.account, tuple(campaign.lists), tuple(campaign.senders))
    again.status, again.send_at = campaign.status, campaign.send_at
    session.commit()
    tick(works.context)
    for each in (campaign, again):
        assert planning.plan(works.context, each.id)
    tokens = {row.token for each in (campaign, again) for row in deliveries(each.id)}
    assert len(tokens) == 2 * RECIPIENTS


def test_an_address_taken_over_between_two_pieces_is_written_to_once_and_no_one_else_is_left_out(
    campaign: Any, works: Any, deliveries: Any, session: Any
) -> None:
    pieces = iter((False, True))
    assert not planning.plan(works.context, campaign.id, stopped=lambda: next(pieces))
    first, *_others, last = session.query(Subscriber).order_by(Subscriber.id)
    taken, first.email, first.email_key = first.email, "elsewhere@example.org", "elsewhere@example.org"
    session.flush()
    last.email = last.email_key = taken
    session.commit()
    assert planning.plan(works.context, campaign.id)
    assert sorted(row.email for row in deliveries(campaign.id)) == [
        f"reader{n:06}@example.org" for n in range(1, RECIPIENTS)
    ]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_planning_reads_each_member_of_a_list_once_right_after_an_import(
    due: Any, works: Any, deliveries: Any, session: Any
) -> None:
    """The test server gathers no statistics, as PostgreSQL has none in the first minute after an import."""
    campaign = due(2_000)
    tick(works.context)
    before = _members_read(works, session)
    assert planning.plan(works.context, campaign.id)
    assert len(deliveries(campaign.id)) == 2_000
    assert _members_read(works, session) - before < 10 * 2_000


def _members_read(works: Any, session: Any) -> int:
    """Return how many index entries of list members PostgreSQL has read so far."""
    # A connection counts what it has read now and then, and for certain when it ends.
    works.context.engine.dispose()
    session.rollback()
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    wait_until(lambda: session.scalar(text(others)) == 0 or session.rollback())
    session.execute(text("SELECT pg_stat_force_next_flush()"))
    session.commit()
    read = session.scalar(
        text("SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'list_member'")
    )
    session.commit()  # no template runs inside a transaction
    return int(read)


def test_a_piece_in_which_no_one_is_a_recipient_does_not_end_the_planning(
    campaign: Any, works: Any, deliveries: Any, session: Any
) -> None:
    """``CHUNK`` members in a row have unsubscribed."""
    subscribers = session.query(Subscriber).order_by(Subscriber.id).all()
    for each in subscribers[:12]:
        each.status = SubscriberStatus.unsubscribed
    session.commit()
    assert planning.plan(works.context, campaign.id)
    assert [row.email for row in deliveries(campaign.id)] == [
        f"reader{n:06}@example.org" for n in range(13, 26)
    ]
