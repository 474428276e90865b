"""What workers write down: JSON, lines about campaigns, and two lines for each outage."""

import json
import logging
from typing import Any

import pytest

from mailganer.campaigns import moves
from mailganer.logs import Outage
from mailganer.models import Campaign, CampaignStatus
from tests.support.ports import wait_until

log = logging.getLogger("mailganer.tests")


def events(caplog: pytest.LogCaptureFixture, campaign_id: int) -> list[str]:
    return [each.getMessage() for each in caplog.records if getattr(each, "campaign", None) == campaign_id]


def test_a_campaign_has_a_line_for_each_step(due: Any, works: Any, caplog: pytest.LogCaptureFixture) -> None:
    campaign = due(3)
    with caplog.at_level(logging.INFO, "mailganer"):
        works.run(6)
    assert events(caplog, campaign.id) == ["campaign.started", "campaign.planned", "campaign.finished"]


def test_a_pause_is_a_line_and_pausing_again_is_none(
    due: Any, works: Any, session: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    campaign = due(3)
    works.tick()
    with caplog.at_level(logging.INFO, "mailganer"):
        for _time in range(2):
            moves.pause(session, session.get_one(Campaign, campaign.id), clock())
    session.commit()
    assert events(caplog, campaign.id) == ["campaign.paused"]


def test_an_outage_is_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("The broker")
    outage.ended(log)
    for _time in range(3):
        outage.began(log, "it is away: %s", "refused")
    for _time in range(3):
        outage.ended(log)
    first, last = [each.getMessage() for each in caplog.records]
    assert first == "it is away: refused"
    assert last.startswith("The broker is back after 0 s")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_and_beat_write_json_with_true_levels(due: Any, parts: Any, reload: Any) -> None:
    campaign = due(3)
    parts.start("beat", "worker")
    try:
        wait_until(lambda: reload(campaign).status is CampaignStatus.finished, timeout=90)
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    lines = [json.loads(line) for line in parts.output().splitlines() if line.startswith("{")]
    ours = {line["event"]: line for line in lines if line.get("campaign") == campaign.id}
    assert list(ours) == ["campaign.started", "campaign.planned", "campaign.finished"]
    assert {line["level"] for line in ours.values()} == {"info"}
    assert all(line["timestamp"] and line["logger"] for line in lines)
    assert "[INFO/" not in parts.output()
    assert "[config]" not in parts.output()
