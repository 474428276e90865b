"""A campaign that would start later than it may asks instead of sending."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mailganer.campaigns import resume
from mailganer.i18n.translator import translate_sentence
from mailganer.models import CampaignStatus
from tests.sending.scripted import Script


@pytest.fixture
def ini_values(ini_values: dict[str, str]) -> dict[str, str]:
    return {**ini_values, "mailganer.latest_start_hours": "24"}


def test_a_campaign_later_than_its_latest_start_sends_nothing_and_asks(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any
) -> None:
    campaign = due(3, not_after=clock.now + timedelta(hours=1))
    clock.forward(hours=2)
    open_works(clock, script).run(3)
    late = reload(campaign)
    assert (late.status, late.started_at) == (CampaignStatus.paused, None)
    assert "between 23 November 2026, 09:00 and 23 November 2026, 10:00" in translate_sentence(
        late.paused_reason
    )
    assert not script.got


def test_who_starts_in_the_very_minute_is_in_time(
    due: Any, open_works: Any, clock: Any, script: Script
) -> None:
    due(3, not_after=clock.now)
    clock.forward(seconds=59)
    open_works(clock, script).run(3)
    assert len(script.got) == 3


def test_without_a_latest_start_a_day_is_the_limit_and_everyone_reads_so_by_their_own_clock(
    due: Any, open_works: Any, clock: Any, script: Script, reload: Any
) -> None:
    campaign = due(3)
    clock.forward(hours=25)
    open_works(clock, script).run(3)
    assert reload(campaign).status is CampaignStatus.paused
    reason = reload(campaign).paused_reason
    assert "23 ноября 2026 г., 12:00" in translate_sentence(reason, "ru", "Europe/Moscow")
    assert "23 November 2026, 09:00" in translate_sentence(reason, "en", "UTC")


def test_an_operator_may_set_another_limit_than_a_day(
    due: Any, open_works: Any, clock: Any, script: Script
) -> None:
    due(3)
    clock.forward(hours=48)
    works = open_works(clock, script)
    works.context = replace(works.context, latest_start=timedelta(hours=72))
    works.run(3)
    assert len(script.got) == 3


def test_a_late_campaign_starts_when_the_user_decides(
    due: Any, open_works: Any, clock: Any, script: Script, session: Any, reload: Any
) -> None:
    campaign = due(3)
    clock.forward(days=3)
    works = open_works(clock, script)
    works.run(2)
    session.refresh(campaign)
    resume(session, campaign, clock.now)
    session.commit()
    works.run(4)
    assert reload(campaign).status is CampaignStatus.finished
    assert reload(campaign).started_at == clock.now
    assert len(script.got) == 3
