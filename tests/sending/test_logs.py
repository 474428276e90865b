"""What workers write down: JSON, lines about campaigns, and two lines for each outage."""

import json
import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.message import Message
from sqlalchemy.exc import OperationalError

from mailganer import queue
from mailganer.campaigns import state_changes
from mailganer.campaigns.event_log import note_campaigns
from mailganer.logs import Outage, write_json, write_warning
from mailganer.models import Campaign, CampaignStatus
from mailganer.sending import broker_consumer
from mailganer.sending.scheduler import restore_detector
from mailganer.sending.worker.lane import LaneRunner
from mailganer.sending.worker.lease_renewer import LeaseRenewer
from tests.support.ports import wait_until

log = logging.getLogger("mailganer.tests")


def events(caplog: pytest.LogCaptureFixture, campaign_id: int) -> list[str]:
    return [each.getMessage() for each in caplog.records if getattr(each, "campaign", None) == campaign_id]


def test_a_campaign_has_a_line_for_each_step(due: Any, works: Any, caplog: pytest.LogCaptureFixture) -> None:
    campaign = due(3)
    with caplog.at_level(logging.INFO, "mailganer"):
        works.run(6)
    assert events(caplog, campaign.id) == ["campaign.started", "campaign.planned", "campaign.finished"]


def test_a_developers_line_names_the_campaign_too(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for _time in range(2):
        write_json(True, [handler])
    parts = logging.getLogger("mailganer.campaigns.event_log")
    caplog.set_level(logging.INFO, parts.name)
    parts.addHandler(handler)
    try:
        note_campaigns("started", [7])
        parts.warning("it is slow")
    finally:
        parts.removeHandler(handler)
    assert capsys.readouterr().err == "INFO campaign.started campaign=7\nWARNING it is slow\n"


def test_a_pause_is_a_line_and_pausing_again_is_none(
    due: Any, works: Any, session: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    campaign = due(3)
    works.tick()
    with caplog.at_level(logging.INFO, "mailganer"):
        for _time in range(2):
            state_changes.pause(session, session.get_one(Campaign, campaign.id), clock())
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


class Away:
    """Sessions of a database that does not answer."""

    def begin(self) -> Any:
        raise OperationalError("SELECT", {}, Exception("connection refused"))


def test_lanes_and_lease_renewal_share_one_line_per_outage_and_one_per_recovery(
    due: Any, works: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sender = due(3).senders[0]
    here, sessions = works.context, works.context.sessions
    renewer = LeaseRenewer(here, sender_id=sender.id, number=0, epoch=1, journal="none")
    here.__dict__["sessions"] = Away()
    for _time in range(3):
        renewer._renew()
        LaneRunner(here, sender.id).run(1)
    here.__dict__["sessions"] = sessions
    for _time in range(2):
        renewer._renew()
        LaneRunner(here, sender.id).run(1)
    first, last = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert first == "a lease could not be renewed: connection refused"
    assert last.startswith("The database is back after 0 s")


def test_a_broker_that_receives_nothing_is_one_line_whatever_is_said_to_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_app: Any) -> Any:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(queue, "_producer", away)
    app: Any = None
    for _time in range(3):
        queue.note_received(app, "mailganer.run_lane", (1, 0), "id")
        assert not queue.enqueue(app, "tick")
    assert [each.getMessage() for each in caplog.records] == ["The broker is unreachable (refused); retrying"]
    caplog.clear()
    Outage.forget_all()
    queue.BROKER.mute()
    assert not queue.enqueue(app, "tick")
    assert not caplog.records


def test_a_message_that_cannot_be_acknowledged_adds_no_line_to_an_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("reset")

    channel: Any = SimpleNamespace(basic_ack=away, no_ack_consumers=None)
    own = logging.getLogger(broker_consumer.ACKNOWLEDGES)
    Message(channel=channel, delivery_tag="7").ack_log_error(own, (ConnectionResetError,))
    assert not caplog.records
    own.warning("something else")
    assert [each.getMessage() for each in caplog.records] == ["something else"]


def test_a_mark_that_cannot_be_kept_is_one_line_until_it_can(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for _time in range(3):
        with restore_detector.open_mark(tmp_path / "none"):
            pass
    with restore_detector.open_mark(tmp_path) as marking:
        assert marking is not None
        marking.keep()
    first, last = [each.getMessage() for each in caplog.records]
    assert first.startswith("no mark can be kept: ")
    assert last.startswith("The mark file is back after 0 s")


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
    assert [line for line in parts.output().splitlines() if line and not line.startswith(("{", "--- "))] == []


def test_a_warning_before_logging_is_set_up_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    write_warning(UserWarning("as root:\nnot recommended"), UserWarning, "platforms.py", 7)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert line["event"].startswith("platforms.py:7: UserWarning: as root:\nnot recommended")
