"""Many campaigns due at once: the queue stays short and all are sent, whatever happens to messages.

These tests count messages and control the time, so they do not depend on the machine's load.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from celery import Celery
from redis import Redis as Client
from sqlalchemy import Engine, event, text, update

from mailganer import queue as task_queue
from mailganer.broker import QUEUE, count_messages
from mailganer.models import Campaign, CampaignStatus
from mailganer.queue import EXPIRES, celery_config, enqueue, note_received
from mailganer.sending import tasks
from mailganer.sending.scheduler.due_work import DueWork, TaskCall, note_planning
from mailganer.sending.scheduler.plan import plan
from mailganer.settings import from_mapping
from tests.sending.processes import Parts
from tests.sending.scripted import Script
from tests.support.broker_proxy import BrokerProxy, Fate
from tests.support.past_campaigns import add_past_campaigns
from tests.support.ports import wait_until
from tests.support.redis import Redis

CAMPAIGNS, ACCOUNTS, RECIPIENTS = 8, 3, 2
OTHERS = 3  # messages besides one per campaign and sender: a tick, and the one being received
LATE = 60.0  # seconds
EACH_STEP = 2.0

Message = tuple[str, tuple[int, ...], str]  # task, ids, and the message's own id


class Queue:
    """The real queue, and a worker process that takes one message at a time."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.waiting: Counter[tuple[str, tuple[int, ...]]] = Counter()
        self.most = 0
        send = app.send_task

        def send_task(name: str, args: Any, **options: Any) -> None:
            send(name, args=args, **options)
            self.waiting[name, tuple(args)] += 1
            self.most = max(self.most, self.length())

        app.send_task = send_task

    def length(self) -> int:
        with self.app.producer_pool.acquire() as producer:
            return count_messages(producer.connection)

    def take(self) -> Message | None:
        with self.app.producer_pool.acquire() as producer:
            message = producer.connection.default_channel.basic_get(QUEUE, no_ack=True)
        if message is None:
            return None
        task, ids = message.headers["task"], tuple(message.decode()[0])
        self.waiting[task, ids] -= 1
        return task, ids, message.headers["id"]

    def run(self, message: Message) -> None:
        note_received(self.app, *message)
        self.app.tasks[message[0]].run(*message[1])


def usual(_queue: Queue, message: Message, _step: int) -> list[Message]:
    return [message]


def ten_times(_queue: Queue, message: Message, _step: int) -> list[Message]:
    return [message] * 10


class HalfLost:
    """Without an acknowledgement, as when a worker is killed right after it receives a message."""

    def __init__(self) -> None:
        self._chance = Random(5)

    def __call__(self, _queue: Queue, message: Message, _step: int) -> list[Message]:
        return [message] * (self._chance.random() < 0.5)


class MinuteLate:
    """Drop expired messages, as Celery does."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, Message]] = []

    def __call__(self, queue: Queue, message: Message, step: int) -> list[Message]:
        self._kept.append((step, message))
        come = [each for since, each in self._kept if (step - since) * EACH_STEP >= LATE]
        self._kept = [(since, each) for since, each in self._kept if (step - since) * EACH_STEP < LATE]
        for each in come:
            if EXPIRES[each[0].removeprefix("mailganer.")] <= LATE:
                note_received(queue.app, *each)
        return [each for each in come if EXPIRES[each[0].removeprefix("mailganer.")] > LATE]


FATES: dict[str, Callable[[], Callable[[Queue, Message, int], list[Message]]]] = {
    "usual": lambda: usual,
    "ten times": lambda: ten_times,
    "half lost": HalfLost,
    "a minute late": MinuteLate,
}


@pytest.fixture
def queue(
    request: pytest.FixtureRequest, ini_values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Queue]:
    """In Redis, or in a broker without keys, such as RabbitMQ."""
    app = Celery("storm", set_as_current=False)
    app.config_from_object(celery_config(from_mapping(ini_values, environ={})))
    if getattr(request, "param", "redis") == "memory":
        app.conf.update(broker_url="memory://", broker_transport_options={})
    with app.producer_pool.acquire() as producer:
        channel = producer.connection.default_channel
        channel.queue_declare(QUEUE)
        channel.queue_purge(QUEUE)
    monkeypatch.setattr(task_queue, "ON_ITS_WAY", 0.0)
    monkeypatch.setattr(tasks, "current_app", app)
    yield Queue(app)
    app.close()


@pytest.fixture
def works(open_works: Any, clock: Any, script: Script, monkeypatch: pytest.MonkeyPatch) -> Any:
    works = open_works(now=clock, script=script)
    monkeypatch.setattr(tasks, "sending_context", lambda: works.context)
    return works


@pytest.fixture
def storm(due: Any, make: Any) -> list[Any]:
    """Campaigns of several accounts, all due now."""
    owners = []
    for number in range(ACCOUNTS):
        account = make.account(f"owner{number}@example.com", plan="pro")
        readers = make.list(account)
        make.subscribers(account, RECIPIENTS, readers)
        owners.append((account, readers, make.sender(account)))
    campaigns = []
    for number in range(CAMPAIGNS):
        account, readers, sender = owners[number % ACCOUNTS]
        campaigns.append(due(0, sender, account))
        campaigns[-1].lists = [readers]
    make.commit()
    return campaigns


def outlast(fate: str, queue: Queue, storm: list[Any], clock: Any, script: Script, reload: Any) -> None:
    """Run beat, clients and a worker step by step until all is sent; check the queue at each step."""
    becomes = FATES[fate]()
    for step in range(400):
        clock.forward(seconds=EACH_STEP)
        for _each in range(5):  # beat, and clients that start campaigns by the API
            enqueue(queue.app, "tick")
        assert queue.length() <= CAMPAIGNS + ACCOUNTS + OTHERS
        if queue.app.conf.broker_url.startswith("redis"):
            assert max(queue.waiting.values()) <= 1
        for _each in range(2):
            if message := queue.take():
                for each in becomes(queue, message, step):
                    queue.run(each)
        if all(reload(each).status is CampaignStatus.finished for each in storm):
            break
    assert {reload(each).status for each in storm} == {CampaignStatus.finished}
    assert Counter(message.id for message in script.seen).most_common(1)[0][1] == 1
    assert len(script.seen) == CAMPAIGNS * RECIPIENTS
    assert queue.most <= CAMPAIGNS + ACCOUNTS + OTHERS


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process so slow that its turn ends after one unit of work."""
    monkeypatch.setattr(tasks, "TURN", 0.0)


@pytest.mark.parametrize("fate", FATES)
def test_the_queue_stays_short_and_everything_is_sent_once_whatever_becomes_of_messages(
    slow: None, fate: str, queue: Queue, works: Any, storm: list[Any], clock: Any, script: Script, reload: Any
) -> None:
    outlast(fate, queue, storm, clock, script, reload)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("queue", ["memory"], indirect=True)
@pytest.mark.parametrize("fate", FATES)
def test_in_a_broker_without_keys_the_queue_stays_as_short(
    slow: None, fate: str, queue: Queue, works: Any, storm: list[Any], clock: Any, script: Script, reload: Any
) -> None:
    outlast(fate, queue, storm, clock, script, reload)


def test_one_message_is_enough_for_all_campaigns(
    queue: Queue, works: Any, storm: list[Any], clock: Any, script: Script, reload: Any
) -> None:
    enqueue(queue.app, "tick")
    message = queue.take()
    assert message
    queue.run(message)
    assert len(script.seen) == CAMPAIGNS * RECIPIENTS
    clock.forward(seconds=1)
    queue.run(message)
    assert {reload(each).status for each in storm} == {CampaignStatus.finished}


def test_a_message_about_a_plan_that_is_done_does_nothing(queue: Queue, works: Any, due: Any) -> None:
    campaign = due(2)
    works.tick()
    assert plan(works.context, campaign.id) is False
    assert not DueWork(works.context).is_due(TaskCall("plan", (campaign.id,)))
    works.run(3)
    queue.run(("mailganer.plan", (campaign.id,), "some id"))
    assert queue.most == 0


def test_a_campaign_that_another_process_plans_is_left_to_it_while_it_lives(
    due: Any, works: Any, clock: Any, session: Any, make: Any
) -> None:
    campaign = due(2, status=CampaignStatus.sending, started_at=make.now)
    note_planning(session, campaign.id, clock.now)
    session.commit()
    assert DueWork(works.context).choose() is None
    clock.forward(seconds=11)
    assert DueWork(works.context).choose() == TaskCall("plan", (campaign.id,))


def test_a_campaign_whose_planning_breaks_holds_up_no_other(
    queue: Queue, works: Any, storm: list[Any], script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = storm[0].id

    def breaks(context: Any, campaign_id: int, *more: Any) -> bool:
        if campaign_id == broken:
            raise ValueError("no such luck")
        return plan(context, campaign_id, *more)

    monkeypatch.setattr(tasks.plan, "plan", breaks)
    queue.run(("mailganer.tick", (), "some id"))
    assert len(script.seen) == (CAMPAIGNS - 1) * RECIPIENTS


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_campaigns_that_come_without_end_keep_no_email_waiting(works: Any, storm: list[Any]) -> None:
    works.tick()
    waiting = storm[0]
    assert plan(works.context, waiting.id) is False  # planned by the tick above, and not sent yet
    with works.context.sessions.begin() as session:
        session.execute(
            update(Campaign).where(Campaign.id != waiting.id).values(planned_at=None, planned_after=0)
        )
    work = DueWork(works.context)
    chosen = []
    for _each in range(5):
        call = work.choose()
        assert call
        chosen.append(call.task)
        work.leave_alone(call)
    assert chosen == ["plan", "plan", "plan", "plan", "run_lane"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_message_that_was_lost_with_its_worker_is_queued_again(queue: Queue) -> None:
    for _each in range(3):
        enqueue(queue.app, "tick")
        enqueue(queue.app, "run_lane", 7, 0)
    assert queue.length() == 2
    while queue.take():
        pass  # and no worker acknowledges it
    assert enqueue(queue.app, "tick")
    assert queue.length() == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_after_a_message_was_received_the_next_one_is_queued_at_once(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_queue, "ON_ITS_WAY", 2.0)
    enqueue(queue.app, "run_lane", 7, 0)
    message = queue.take()
    assert message
    note_received(queue.app, *message)
    enqueue(queue.app, "run_lane", 7, 0)
    assert queue.length() == 1
    note_received(queue.app, *message)  # a copy of the first one
    enqueue(queue.app, "run_lane", 7, 0)
    assert queue.length() == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_worker_takes_the_keys_away_of_what_it_receives_and_of_what_has_expired(
    queue: Queue, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPIRES, "run_lane", 0)
    enqueue(queue.app, "run_lane", 7, 0)
    enqueue(queue.app, "plan", 8)
    with Client.from_url(queue.app.conf.broker_url) as redis:
        assert len(redis.keys(f"{QUEUE}.waiting.*")) == 2
        parts.start("worker")
        wait_until(lambda: not redis.keys(f"{QUEUE}.waiting.*"), timeout=60, what=f"both\n{parts.output()}")
    assert "Discarding revoked task: mailganer.run_lane" in parts.output()


# --- the parts as processes, with a proxy before the broker


@pytest.fixture
def proxy(broker: Redis) -> Iterator[BrokerProxy]:
    proxy = BrokerProxy(broker.url)
    yield proxy
    proxy.stop()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_worker_and_beat_send_everything_once_while_messages_are_repeated_delayed_and_lost(
    proxy: BrokerProxy, ini_values: Any, tmp_path: Any, smtp_server: Any, make: Any
) -> None:
    parts = Parts(tmp_path, ini_values | {"celery.broker_url": proxy.url})
    account = make.account(plan="pro")
    sender, readers = make.sender(account, smtp_server), make.list(account)
    make.subscribers(account, RECIPIENTS, readers)
    emails = 0
    parts.start("worker", "beat")
    try:
        for fate in (Fate(copies=10, delay=1.0), Fate(lost=0.5)):
            proxy.fate, queued = fate, proxy.queued
            for _each in range(CAMPAIGNS):
                due_now = {"status": CampaignStatus.scheduled, "send_at": make.now}
                make.campaign(account, (readers,), (sender,), **due_now)
            make.commit()
            emails += CAMPAIGNS * RECIPIENTS
            wait_until(lambda: len(smtp_server.emails) >= emails, timeout=60, what=f"all with {fate}")  # noqa: B023
            assert proxy.queued - queued < 100, fate
    except AssertionError as error:
        pytest.fail(f"{error}\n{parts.output()}")
    finally:
        parts.stop()
    assert list(smtp_server.counts.values()) == [2 * CAMPAIGNS] * RECIPIENTS


# --- an installation with a long history

FINISHED = 1000
WHOLE_TABLE = re.compile(
    r"SCAN (campaign|batch|delivery|campaign_sender)\b(?!.* INDEX ix_batch_(in_doubt|unfinished))"
)
"""The plan in SQLite's notation. The two partial indexes are small and are scanned completely."""


@pytest.fixture
def usual_sender(make: Any, smtp_server: Any) -> Any:
    """The sender of all campaigns, past and new."""
    return make.sender(make.account(plan="pro"), smtp_server)


@pytest.fixture
def start_one(usual_sender: Any, make: Any) -> Callable[[], Campaign]:
    """Create another campaign of the usual sender, due now, to the same two recipients."""
    readers = make.list(usual_sender.account)
    make.subscribers(usual_sender.account, 2, readers)

    def start() -> Campaign:
        due = {"status": CampaignStatus.scheduled, "send_at": make.now}
        campaign = make.campaign(usual_sender.account, (readers,), (usual_sender,), **due)
        make.commit()
        return campaign

    return start


@pytest.fixture
def past(usual_sender: Any, session: Any, now: Any) -> Callable[[], None]:
    """Add a thousand finished campaigns when it is called."""

    def add() -> None:
        add_past_campaigns(session, usual_sender, FINISHED, now)
        session.commit()
        if session.get_bind().dialect.name == "postgresql":  # as autovacuum does
            session.execute(text("ANALYZE"))
            session.commit()

    return add


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_tick_reads_nothing_of_campaigns_that_are_over(
    past: Callable[[], None], start_one: Callable[[], Campaign], works: Any, script: Script
) -> None:
    past()
    campaign = start_one()
    asked: dict[str, Any] = {}

    @event.listens_for(works.context.engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            asked[statement] = values

    works.tick()
    assert DueWork(works.context).choose() == TaskCall("run_lane", (campaign.senders[0].id, 0))
    works.run(2)
    event.remove(works.context.engine, "before_cursor_execute", note)
    assert len(script.got) == 2
    with works.context.engine.connect() as connection:
        plans = {
            statement: [
                row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            ]
            for statement, values in asked.items()
            if isinstance(values, tuple)
        }
    read = {
        statement: lines
        for statement, lines in plans.items()
        if any(WHOLE_TABLE.match(line) for line in lines)
    }
    assert read == {}


class SQLiteWork:
    """Instructions that SQLite carries out for an engine, by the dozen."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._done = engine, 0
        event.listen(engine, "checkout", self._count)

    def _count(self, connection: Any, *_: Any) -> None:
        connection.set_progress_handler(self._note, 12)

    def _note(self) -> None:
        self._done += 1

    def done(self) -> int:
        return self._done


class PostgreSQLWork:
    """Return how many rows PostgreSQL has read for all its clients."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def done(self) -> int:
        self._engine.dispose()  # a session reports its statistics when it ends
        with self._engine.connect() as connection:
            wait_until(lambda: not connection.scalar(_OTHERS), what="the others to leave")
            rows = int(connection.scalar(_ROWS_READ) or 0)
        self._engine.dispose()
        return rows


_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
_ROWS_READ = text("SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables")
LITTLE = {"sqlite": 200, "postgresql": 500}  # one row per finished campaign would be more


def test_a_new_campaign_starts_after_a_thousand_others_with_hardly_more_work(
    past: Callable[[], None],
    start_one: Callable[[], Campaign],
    works: Any,
    script: Script,
    session: Any,
    engine: Engine,
) -> None:
    work = (SQLiteWork if engine.dialect.name == "sqlite" else PostgreSQLWork)(works.context.engine)

    def work_of_one() -> int:
        start_one()
        session.close()
        engine.dispose()
        before, sent = work.done(), len(script.seen)
        works.run(2)
        after = work.done()
        assert len(script.seen) == sent + 2
        return after - before

    work_of_one()  # once before, for what is done only once
    usual = work_of_one()
    past()
    assert work_of_one() < usual + LITTLE[engine.dialect.name]
