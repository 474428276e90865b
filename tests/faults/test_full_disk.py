"""A full disk: nothing is sent that cannot be recorded, and all of it resumes when there is space."""

import resource
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from mailganer.audience.imports import actions
from mailganer.backends import Outcome, Receipt
from mailganer.cli import doctor
from mailganer.logs import Lines
from mailganer.models import CampaignStatus, Import, SenderStatus, SubscriberList
from mailganer.sending.worker.journal import Journal
from tests.sending.scripted import Script
from tests.support.ports import wait_until

from .child import end_of, fork
from .conftest import at

RECIPIENTS = 40

the_other = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
both_kinds = pytest.mark.parametrize("disk", ["mounted", "limited"], indirect=True)


# --- journals


@both_kinds
@the_other
def test_without_space_for_a_journal_nothing_is_sent_and_the_user_sees_why(
    due: Any,
    open_works: Any,
    clock: Any,
    script: Script,
    statuses: Any,
    reload: Any,
    disk: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    campaign = due(RECIPIENTS)
    works = open_works(clock, script)
    works.tick()
    disk.fill()
    works.run(3)
    disk.empty()
    sender = reload(campaign.senders[0])
    assert not script.seen
    assert statuses(campaign.id) == {"pending": RECIPIENTS}
    assert sender.status is SenderStatus.sleeping
    assert "Mailganer cannot record what it sends" in sender.error
    assert "there is no room for a journal, so nothing is sent" in caplog.text
    assert list(works.context.journals.glob("*.journal")) == []
    clock.forward(minutes=1)
    works.run(4)
    assert statuses(campaign.id) == {"sent": RECIPIENTS}
    assert reload(campaign.senders[0]).error is None
    assert reload(campaign).status is CampaignStatus.finished


@both_kinds
def test_a_journal_that_was_begun_has_its_room_whatever_comes(disk: Any) -> None:
    """Else the first email noted on a full disk would kill the process (SIGBUS)."""

    def work() -> None:
        journal = Journal(disk.folder, "one.journal")
        disk.fill()
        journal.begin(1, 1000)
        for slot in range(1000):
            journal.handed(slot)
            journal.answered(slot, Receipt(str(slot), Outcome.accepted, "250 kept" * 30))
        journal.close()
        disk.empty()

    assert end_of(fork(work)) == 0


# --- uploads


def people_file() -> bytes:
    return b"email\n" + b"".join(b"reader%06d@example.com\n" % n for n in range(200))


@both_kinds
@the_other
def test_a_file_for_which_there_is_no_room_is_refused_in_a_sentence_and_nothing_of_it_stays(
    anna: Any,
    session: Any,
    disk: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = next(each for each in anna.get("/subscribers/import").forms.values() if "file" in each.fields)
    form["file"] = ("people.csv", people_file())
    at(monkeypatch, actions, "store", 1, lambda *_: disk.fill())  # what was sent has arrived
    refused = form.submit(status=507)
    disk.empty()
    assert "The disk of this installation is full" in refused
    assert list((disk.folder / "uploads").glob("*")) == []
    assert session.scalar(select(func.count()).select_from(Import)) == 0
    assert session.scalar(select(func.count()).select_from(SubscriberList)) == 0
    session.rollback()
    form.submit(status=303)
    assert session.scalar(select(func.count()).select_from(Import)) == 1


@the_other
def test_the_api_says_that_there_is_no_room(
    client: Any,
    session: Any,
    make: Any,
    account: Any,
    disk: Any,
) -> None:
    lst = make.list(account)
    make.commit()
    disk.fill()
    refused = client.app.post(
        f"/api/v1/lists/{lst.id}/imports",
        upload_files=[("file", "people.csv", people_file())],
        headers=client.headers,
        status=507,
    )
    disk.empty()
    assert refused.content_type == "application/problem+json"
    assert "The disk of this installation is full" in refused.json["detail"]
    assert session.scalar(select(func.count()).select_from(Import)) == 0


# --- logs


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_log_on_a_full_disk_ends_no_part_and_keeps_no_email(
    due: Any, parts: Any, smtp_server: Any, reload: Any, deliveries: Any
) -> None:
    campaign = due(RECIPIENTS)
    for name in ("beat", "worker"):
        (parts.folder / f"{name}.log").symlink_to("/dev/full")  # a disk that is always full
    parts.start("beat", "worker")
    wait_until(lambda: reload(campaign).status is CampaignStatus.finished, timeout=90)
    assert parts.runs("worker")
    assert parts.runs("beat")
    assert sorted(smtp_server.counts.values()) == [1] * RECIPIENTS


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else() -> None:
    with suppress(OSError), Path("/dev/full").open("w") as full:
        Lines(full).warning("nobody will ever read this")


# --- one command


def test_the_command_says_that_its_state_cannot_be_written_and_continues_when_it_can(
    mailing: Any,
) -> None:
    mailing.write_list(RECIPIENTS)
    sending = mailing.start()
    before = resource.prlimit(sending.pid, resource.RLIMIT_FSIZE)
    wait_until(lambda: mailing.server.emails, timeout=60, every=0.001)
    resource.prlimit(sending.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    time.sleep(2)
    left = len(mailing.server.emails)
    time.sleep(1)
    assert len(mailing.server.emails) == left < RECIPIENTS, "an email left that could not be noted"
    resource.prlimit(sending.pid, resource.RLIMIT_FSIZE, before)
    _said, trouble = sending.communicate(timeout=60)
    assert sending.returncode == 0, trouble
    assert sorted(mailing.server.counts.values()) == [1] * RECIPIENTS


# --- the doctor


def test_the_doctor_says_which_disk_is_full(
    disk: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not disk.folder.is_mount():  # the machine's own disk: it counts as too full without being filled
        monkeypatch.setattr(doctor, "NO_ROOM", 2**63)
    disk.fill()
    assert (
        False,
        f"{disk.folder} is full. Emails cannot be sent and files cannot be uploaded. Free up space.",
    ) in list(doctor._disk(settings))
    disk.empty()
