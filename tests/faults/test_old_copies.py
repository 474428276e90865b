"""A database restored from an older copy: emails it has lost the record of are not sent again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mailganer.campaigns import resume
from mailganer.i18n.translator import translate_sentence
from mailganer.models import Campaign, CampaignStatus, Delay, DelayCause, SubscriberList
from mailganer.sending.scheduler.restore_detector import open_mark
from mailganer.sending.worker.lane import LaneRunner
from mailganer.sending.worker.receipt_outcomes import WindowResult
from mailganer.sending.worker.window_settler import WindowSettler
from tests.sending.scripted import Script
from tests.support.databases import Databases

from .conftest import at

RECIPIENTS = 40


@pytest.fixture
def works(open_works: Any, clock: Any, script: Script) -> Any:
    return open_works(clock, script)


@pytest.fixture
def copy(databases: Databases, database_url: str) -> Callable[[], str]:
    return lambda: databases.copy(database_url)


@pytest.fixture
def put_back(databases: Databases, database_url: str, works: Any, engine: Any) -> Callable[[str], None]:
    def put_back(copy: str) -> None:
        works.context.engine.dispose()
        engine.dispose()
        databases.put_back(database_url, copy)

    return put_back


def send_some(works: Any, campaign: Campaign) -> None:
    """Claim up to two dozen deliveries, and release the rest."""
    settled: list[int] = []

    def note(window_result: WindowResult) -> None:
        settled.append(len(window_result.changes))

    LaneRunner(works.context, campaign.senders[0].id, stopped=lambda: sum(settled) >= 10, progress=note).run(
        30
    )


def test_what_was_sent_since_the_copy_is_not_sent_again_without_a_decision(
    due: Any,
    works: Any,
    clock: Any,
    script: Script,
    statuses: Any,
    reload: Any,
    session: Any,
    copy: Any,
    put_back: Any,
) -> None:
    campaign = due(RECIPIENTS)
    works.tick()
    send_some(works, campaign)
    kept = copy()
    known = statuses(campaign.id)["sent"]
    assert 0 < known < RECIPIENTS
    clock.forward(minutes=20)
    works.run(3)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}

    put_back(kept)
    clock.forward(minutes=10)
    assert LaneRunner(works.context, campaign.senders[0].id).run(5).settled == 0, (
        "a bell was quicker than the tick"
    )
    works.run(3)
    held = reload(campaign)
    assert held.status is CampaignStatus.paused
    assert "restored from a backup of 23 November 2026, 09:00" in translate_sentence(held.paused_reason)
    assert "between then and 23 November 2026, 09:20" in translate_sentence(held.paused_reason)
    assert set(script.got.values()) == {1}
    noted = session.scalars(select(Delay).where(Delay.campaign_id == campaign.id)).one()
    assert (noted.cause, noted.since, noted.until) == (DelayCause.halted, clock.now, None)

    session.expire_all()
    resume(session, session.get_one(Campaign, campaign.id), clock.now)
    session.commit()
    works.run(3)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
    assert sorted(script.got.values()) == [1] * known + [2] * (RECIPIENTS - known), "it was said so"


def test_a_campaign_that_began_and_ended_since_the_copy_asks_and_a_later_one_waits_for_its_day(
    due: Any, works: Any, clock: Any, script: Script, make: Any, reload: Any, copy: Any, put_back: Any
) -> None:
    campaign = due(RECIPIENTS, send_at=clock.now + timedelta(minutes=5))
    later = make.campaign(
        campaign.account,
        (make.session.get_one(SubscriberList, campaign.lists[0].id),),
        tuple(campaign.senders),
        status=CampaignStatus.scheduled,
        send_at=clock.now + timedelta(days=1),
    )
    make.commit()
    works.tick()
    kept = copy()
    clock.forward(minutes=6)
    works.run(4)
    assert reload(campaign).status is CampaignStatus.finished
    put_back(kept)
    works.run(4)
    assert reload(campaign).status is CampaignStatus.paused
    assert reload(later).status is CampaignStatus.scheduled
    assert set(script.got.values()) == {1}


def test_a_lane_that_outlives_its_database_keeps_what_has_left_and_asks(
    due: Any,
    works: Any,
    script: Script,
    statuses: Any,
    reload: Any,
    copy: Any,
    put_back: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A replica without the last windows takes over; no tick has detected it yet."""
    campaign = due(RECIPIENTS)
    works.tick()
    kept = copy()
    at(monkeypatch, WindowSettler, "settle", 3, lambda *_: put_back(kept))
    LaneRunner(works.context, campaign.senders[0].id).run(30)
    assert set(script.got.values()) == {1}
    left = len(script.got)
    assert 0 < statuses(campaign.id)["sent"] < left < RECIPIENTS
    assert reload(campaign).status is CampaignStatus.paused
    assert "restored from an older backup" in translate_sentence(reload(campaign).paused_reason)
    works.run(3)
    assert set(script.got.values()) == {1}


def test_a_copy_that_knows_everything_changes_nothing(
    due: Any, works: Any, script: Script, statuses: Any, copy: Any, put_back: Any
) -> None:
    campaign = due(RECIPIENTS)
    works.tick()
    send_some(works, campaign)
    put_back(copy())
    works.run(3)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
    assert set(script.got.values()) == {1}


def test_a_process_stopped_with_the_lock_blocks_no_other(due: Any, works: Any, script: Script) -> None:
    due(RECIPIENTS)
    with open_mark(works.context.journals) as mine:
        works.run(3)
    assert mine
    assert sorted(script.got.values()) == [1] * RECIPIENTS


def test_a_clock_that_is_set_back_is_no_older_copy(due: Any, works: Any, clock: Any, statuses: Any) -> None:
    campaign = due(RECIPIENTS)
    works.tick()
    clock.forward(hours=-8)
    works.run(2)
    clock.forward(hours=9)
    works.run(3)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
