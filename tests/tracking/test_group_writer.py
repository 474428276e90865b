"""Requests that share a commit: order, failures, limits."""

import os
from datetime import timedelta
from threading import Event as Signal
from threading import Thread

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

from mailganer.errors import Busy
from mailganer.models import Account, EventKind, token_text
from mailganer.tracking import (
    Click,
    GroupWriter,
    OpenBuffer,
    OutcomeUnknown,
    SentVersions,
    UnsubscribeRequest,
    group_writer,
    unsubscribe_by_token,
    unsubscribe_together,
)
from mailganer.tracking.clicks import click_writer
from tests.faults.child import end_of, fork

from .test_clicks import BROWSER, events, numbers


@pytest.fixture
def commits(engine):
    """Counts commits: ``commits[0]``."""
    seen = [0]

    def note(_connection):
        seen[0] += 1

    event.listen(engine, "commit", note)
    yield seen
    event.remove(engine, "commit", note)


@pytest.fixture
def open_writer(sessions):
    """``open_writer(write)``: a writer that is closed with the test."""
    opened = []

    def open_writer(write):
        opened.append(GroupWriter("tests", lambda: sessions, write))
        return opened[-1]

    yield open_writer
    for each in opened:
        each.close()


class Answers:
    """The outcomes by member, complete when all have come."""

    def __init__(self, writer, members):
        self.found, self._all, self._writer = {}, Signal(), writer
        self._wanted = len(members)
        for each in members:
            assert writer.submit(each, lambda outcome, each=each: self._came(each, outcome))

    def _came(self, member, outcome):
        self.found[member] = outcome
        if len(self.found) == self._wanted:
            self._all.set()

    def all(self):
        assert self._all.wait(30)
        return self.found


def together(open_writer, write, members):
    """Return the outcomes of members that are one group: they come while another one is written."""
    begun, go = Signal(), Signal()

    def gated(session, group):
        if not go.is_set():
            begun.set()
            assert go.wait(30)
            return group
        return write(session, group)

    writer = open_writer(gated)
    first = Answers(writer, [-1])
    assert begun.wait(30)
    answers = Answers(writer, members)
    go.set()
    first.all()
    return answers.all()


def writing(session, members):
    session.execute(select(Account.id)).all()
    return [member * 10 for member in members]


def test_what_comes_together_shares_a_commit_and_each_gets_its_own_answer(open_writer, commits):
    first, go = Signal(), Signal()

    def write(session, members):
        first.set()
        assert go.wait(30)
        return writing(session, members)

    answers = Answers(writer := open_writer(write), range(1))
    assert first.wait(30)
    more = Answers(writer, range(1, 51))
    go.set()
    found = answers.all() | more.all()
    assert [found[number].answer for number in range(51)] == [number * 10 for number in range(51)]
    assert commits[0] == 2


def test_one_that_fails_loses_no_other(open_writer):
    def write(session, members):
        if 7 in members:
            raise ValueError("nowhere")
        return writing(session, members)

    found = together(open_writer, write, range(20))
    assert found[7].answer is None
    assert "nowhere" in str(found[7].error)
    assert [found[each].answer for each in range(20) if each != 7] == [
        each * 10 for each in range(20) if each != 7
    ]


def test_a_database_that_is_gone_is_not_asked_for_each_of_many(open_writer):
    asked = []

    def write(_session, members):
        asked.append(len(members))
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    found = together(open_writer, write, range(40))
    assert {type(each.error) for each in found.values()} == {OperationalError}
    assert asked == [40, 1, 1]


def test_what_may_have_been_committed_is_not_written_again(open_writer, engine, monkeypatch):
    written = []

    def write(session, members):
        written.extend(members)
        return writing(session, members)

    def do_commit(_connection):
        raise engine.dialect.loaded_dbapi.OperationalError("the connection was lost")

    def break_then_write(session, members):
        monkeypatch.setattr(engine.dialect, "do_commit", do_commit)
        return write(session, members)

    found = together(open_writer, break_then_write, range(5))
    assert {type(each.error) for each in found.values()} == {OutcomeUnknown}
    assert sorted(written) == list(range(5))


def test_more_than_can_wait_are_refused_at_once(open_writer, monkeypatch):
    monkeypatch.setattr(group_writer, "MOST_WAITING", 3)
    begun, go = Signal(), Signal()

    def write(session, members):
        begun.set()
        assert go.wait(30)
        return writing(session, members)

    answers = Answers(writer := open_writer(write), range(1))
    assert begun.wait(30)
    more = Answers(writer, range(1, 4))
    assert not writer.submit(4, lambda outcome: None)
    refused = writer.wait(4)
    assert isinstance(refused.error, Busy)
    assert refused.error.retry_after > 0
    go.set()
    assert len(answers.all() | more.all()) == 4


def test_one_that_cannot_be_told_stops_no_other(open_writer):
    def broken(*_outcome):
        raise OSError("the connection is closed")

    writer = open_writer(writing)
    assert writer.submit(1, broken, broken)
    assert writer.wait(2).answer == 20


def test_a_forked_process_writes_with_a_thread_of_its_own(open_writer, engine):
    writer = open_writer(writing)
    assert writer.wait(1).answer == 10
    engine.dispose()
    assert end_of(fork(lambda: os._exit(0 if writer.wait(2).answer == 20 else 3))) == 0
    assert writer.wait(3).answer == 30


REFUSING = {
    "sqlite": "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN NEW.agent = 'bad'"
    " BEGIN SELECT RAISE(ABORT, 'refused'); END",
    "postgresql": "ALTER TABLE event ADD CONSTRAINT refused CHECK (agent <> 'bad')",
}


@pytest.fixture
def clicks(sessions):
    """A writer of clicks that knows every version."""
    versions = SentVersions(lambda: sessions)
    writer = click_writer(lambda: sessions, OpenBuffer(lambda: sessions), versions)
    yield writer
    writer.close()


def test_a_click_that_the_database_refuses_loses_none_of_its_group(session, sent, engine, clicks, now):
    session.execute(text(REFUSING[engine.dialect.name]))
    session.commit()
    own = [
        Click.of(token, 1, agent="bad" if number == 2 else BROWSER, at=now).leading_to("https://a.example/")
        for number, token in enumerate(sent.tokens)
    ]
    found = Answers(clicks, own).all()
    assert [found[click].answer for click in own] == [
        None if number == 2 else "https://a.example/" for number in range(len(own))
    ]
    assert found[own[2]].error is not None
    assert numbers(session, sent).clicks == len(own) - 1
    session.commit()


def test_clicks_of_many_threads_are_each_counted(session, sent, clicks, now):
    def follow():
        for token in sent.tokens[:3]:
            click = Click.of(token, 1, agent=BROWSER, at=now).leading_to("https://a.example/")
            assert clicks.wait(click).answer == "https://a.example/"

    threads = [Thread(target=follow) for _each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = numbers(session, sent)
    session.commit()
    assert (found.clicks, found.clicked, found.opens) == (24, 3, 3)


def test_who_unsubscribes_together_is_counted_once_each(session, sent, now):
    sent.deliveries[4].subscriber_id = None
    session.flush()
    one, two, three, _four, erased, _six = sent.tokens
    tokens = [three, one, one, token_text(bytes(16)), erased, two]
    found = unsubscribe_together(session, [UnsubscribeRequest(each, now) for each in tokens])
    assert [each and each.left_by_this for each in found] == [True, True, True, None, None, True]
    assert numbers(session, sent).unsubscribed == 3
    assert {delivery.unsubscribed_at for delivery in sent.deliveries[:3]} == {now}
    assert len(events(session, sent, EventKind.unsubscribe)) == 3
    later = now + timedelta(hours=1)
    assert unsubscribe_together(session, [UnsubscribeRequest(one, later)])[0].left_by_this
    assert numbers(session, sent).unsubscribed == 3
    unsubscribe_by_token(session, erased, now=now)
    assert sent.deliveries[0].unsubscribed_at == now
    session.commit()
