from datetime import UTC, datetime, timedelta

import pytest

from mailganer.campaigns import cancel, freeze, pause, resume, schedule, unschedule, update_draft
from mailganer.errors import Conflict, EmailError, InputError, NotReady
from mailganer.models import CampaignStatus, FrozenEmail


@pytest.fixture
def plan(session, settings, registry, now):
    def plan(campaign, send_at=None):
        return schedule(session, campaign, send_at, now, settings=settings, registry=registry)

    return plan


def test_now_means_the_next_tick(plan, campaign, now):
    plan(campaign)
    assert (campaign.status, campaign.send_at) == (CampaignStatus.scheduled, now)


def test_a_campaign_can_wait_for_its_time(plan, campaign, now):
    plan(campaign, now + timedelta(days=3))
    assert campaign.send_at == now + timedelta(days=3)


def test_now_with_a_grace_begins_when_it_is_over(session, settings, registry, campaign, now):
    values = {"settings": settings, "registry": registry, "grace": timedelta(seconds=10)}
    schedule(session, campaign, None, now, **values)
    assert campaign.send_at == now + timedelta(seconds=10)
    unschedule(session, campaign, now + timedelta(seconds=9))
    assert (campaign.status, campaign.send_at) == (CampaignStatus.draft, None)


def test_a_chosen_time_needs_no_grace(session, settings, registry, campaign, now):
    values = {"settings": settings, "registry": registry, "grace": timedelta(seconds=10)}
    schedule(session, campaign, now + timedelta(hours=1), now, **values)
    assert (campaign.send_at, campaign.pressed_at) == (now + timedelta(hours=1), None)


def test_a_time_in_the_past_is_asked_again(plan, campaign, now):
    with pytest.raises(InputError):
        plan(campaign, now - timedelta(minutes=5))
    assert campaign.status is CampaignStatus.draft


def test_a_time_just_passed_means_now(plan, campaign, now):
    plan(campaign, now - timedelta(seconds=10))
    assert campaign.send_at == now


@pytest.mark.parametrize("moment", [datetime(2026, 12, 1, 9, 0), datetime(2062, 12, 1, tzinfo=UTC)])
def test_a_time_without_a_zone_or_far_away_is_asked_again(plan, campaign, moment):
    with pytest.raises(InputError):
        plan(campaign, moment)


def test_what_is_not_ready_is_not_scheduled_and_says_why(plan, campaign, session, now):
    update_draft(session, campaign, {"subject": ""}, now)
    with pytest.raises(NotReady) as caught:
        plan(campaign)
    assert [problem.code for problem in caught.value.problems] == ["no_subject"]
    assert campaign.status is CampaignStatus.draft


def test_a_second_click_does_not_schedule_twice(plan, campaign):
    plan(campaign)
    with pytest.raises(Conflict):
        plan(campaign)


def test_a_scheduled_campaign_can_be_taken_back(plan, campaign, session, now):
    plan(campaign, now + timedelta(days=1))
    unschedule(session, campaign, now)
    assert campaign.status is CampaignStatus.draft
    assert campaign.send_at == now + timedelta(days=1)
    with pytest.raises(Conflict):
        unschedule(session, campaign, now)


def test_pause_and_resume_can_be_said_twice(campaign, session, now):
    campaign.status = CampaignStatus.sending
    for verb, status in ((pause, CampaignStatus.paused), (resume, CampaignStatus.sending)):
        verb(session, campaign, now)
        verb(session, campaign, now)
        assert campaign.status is status


def test_a_draft_can_neither_be_paused_nor_resumed_nor_stopped(campaign, session, now):
    for verb in (pause, resume, cancel):
        with pytest.raises(Conflict):
            verb(session, campaign, now)


def test_stopping_is_for_good(campaign, session, now):
    campaign.status = CampaignStatus.sending
    cancel(session, campaign, now)
    cancel(session, campaign, now)
    assert (campaign.status, campaign.finished_at) == (CampaignStatus.cancelled, now)
    with pytest.raises(Conflict):
        resume(session, campaign, now)


def test_going_on_with_an_edited_email_makes_a_new_version(campaign, session, now):
    campaign.status = CampaignStatus.sending
    first = freeze(session, campaign, now)
    pause(session, campaign, now)
    update_draft(session, campaign, {"subject": "Corrected"}, now)
    resume(session, campaign, now)
    second = session.get(FrozenEmail, campaign.frozen_email_id)
    assert (first.version, second.version) == (1, 2)
    assert first.compiled["subject"] != second.compiled["subject"]


def test_going_on_with_the_same_email_keeps_the_version(campaign, session, now):
    campaign.status = CampaignStatus.sending
    first = freeze(session, campaign, now)
    pause(session, campaign, now)
    resume(session, campaign, now)
    assert campaign.frozen_email_id == first.id


def test_a_broken_correction_does_not_go_out(campaign, session, now):
    campaign.status = CampaignStatus.sending
    freeze(session, campaign, now)
    pause(session, campaign, now)
    update_draft(session, campaign, {"html": "{{ broken"}, now)
    with pytest.raises(EmailError):
        resume(session, campaign, now)
    assert campaign.status is CampaignStatus.paused


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (CampaignStatus.finished, "is finished"),
        (CampaignStatus.cancelled, "is cancelled"),
        (CampaignStatus.sending, "is already being sent"),
    ],
)
def test_what_is_over_cannot_be_scheduled_and_the_reason_is_true(session, plan, campaign, status, said):
    campaign.status = status
    session.flush()
    with pytest.raises(Conflict) as caught:
        plan(campaign)
    assert said in str(caught.value)
