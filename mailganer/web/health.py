"""Health check (``/healthz``) and Prometheus metrics (``/metrics``)."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from threading import Lock, Thread
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import REGISTRY, GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from mailganer import broker, migrations
from mailganer.broker import Backlog
from mailganer.data_folder import full_disks
from mailganer.db import database_now
from mailganer.models import Batch, Campaign, CampaignStatus, Heartbeat, Sender
from mailganer.sending.process_reports import ConfigMismatch, config_mismatches
from mailganer.settings import Settings
from mailganer.web import PUBLIC, is_from_private_network, may_read_metrics

from .decorators import view_config
from .sending_metrics import SendingMetrics

# Twice the interval of the pipeline, for which a tick may have to wait; long enough for a restart too.
SILENT_AFTER = timedelta(minutes=1)
DATABASE_ANSWERS = 2.0  # seconds; a frozen server refuses nothing, it only does not respond
BROKER_ANSWERS = 1.0  # seconds: the broker is near, and the client of /healthz waits as well
BROKER_IS_KNOWN = 5.0  # seconds; /healthz is public, and each check opens a connection to the broker
NO_ANSWER = "down: it does not answer"
PARTS = ("worker", "beat")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods with a time series of their own: methods made up by clients must not grow the metrics."""
ACTIVE_EMAILS = "mailganer_active_campaign_emails"
OLD_ACTIVE_EMAILS = "mailganer_letters"  # for dashboards made before 0.2
COUNTED = ("pending", "sending", "sent", "failed", "in_doubt", "skipped", "bounced")

REQUESTS = Counter("mailganer_requests", "Answered requests.", ["method", "route", "status"])
SECONDS = Histogram(
    "mailganer_request_seconds",
    "Time to answer.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)


@view_config(route_name="healthz", renderer="json", permission=PUBLIC)
def healthz(request: Request) -> dict[str, Any]:
    """Return 200 when everything works, else 503 with the names of the failing parts.

    ``?part=web`` checks this process and its database alone: for load balancers, which should not take the
    pages offline because a worker is being restarted.
    """
    web_only = request.params.get("part") == "web"
    settings: Settings = request.registry["settings"]
    parts = {"database": request.registry["database"].state()}
    ask_parts = parts["database"] == "ok" and not web_only
    now = database_now(request.dbsession) if ask_parts else None
    if not web_only:
        watch: BrokerWatch = request.registry["broker"]
        parts |= {"disk": _disk(settings), "broker": watch.state()}
        if backlog := watch.backlog():
            parts["queue"] = _queue(backlog)
    if now:
        named = is_from_private_network(request.remote_addr, settings)  # do not show host names to strangers
        parts |= _parts(request.dbsession, settings, now, named=named)
    down = [name for name, state in parts.items() if state.startswith("down")]
    request.response.status_int = 503 if down else 200
    request.response.headers["Cache-Control"] = "no-store"
    answer = {"status": "down" if down else "ok", "down": down, **parts}
    return answer | ({"tick_age": _age(_last_seen(request.dbsession, "beat"), now)} if now else {})


class DatabaseWatch:
    """State of the database, checked in a thread, so that a database which hangs holds no request up."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine
        self._asking = Lock()
        self._check: _DatabaseCheck | None = None

    def state(self) -> str:
        """Return "ok", or "down: " with the reason, within ``DATABASE_ANSWERS``."""
        with self._asking:
            if self._check is None or not self._check.is_alive():
                self._check = _DatabaseCheck(self._engine())
                self._check.start()
            check = self._check
        check.join(DATABASE_ANSWERS)
        return check.state


class _DatabaseCheck(Thread):
    """One check; its ``state`` is that of a database that does not answer until it does."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="database check", daemon=True)
        self._engine = engine
        self.state = NO_ANSWER

    def run(self) -> None:
        self.state = _database(self._engine)


class BrokerWatch:
    """State of the broker and length of its queue, checked at most every few seconds."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._asking = Lock()
        self._state, self._backlog, self._until = "", Backlog(0), 0.0

    def state(self) -> str:
        with self._asking:
            self._ask()
            return self._state

    def backlog(self) -> Backlog | None:
        """Return the length of the queue, or None if the broker does not respond."""
        with self._asking:
            self._ask()
            return self._backlog if self._state == "ok" else None

    def _ask(self) -> None:
        if time.monotonic() < self._until:
            return
        trouble = broker.trouble(self._url, BROKER_ANSWERS)
        found = None if trouble else broker.backlog(self._url, BROKER_ANSWERS)
        self._state = "ok" if found else _broker_down(trouble)
        self._backlog = found or Backlog(0)
        self._until = time.monotonic() + BROKER_IS_KNOWN


def _broker_down(trouble: str) -> str:
    """Return the kind of a trouble: the words of the error may name hosts."""
    for kind in (broker.REFUSES_WRITES, broker.REFUSES_SIGN_IN):
        if trouble.startswith(kind):
            return f"down: {kind}"
    return NO_ANSWER


def _queue(backlog: Backlog) -> str:
    return f"down: {backlog}; workers do not keep up" if backlog.grows else "ok"


def _database(engine: Engine) -> str:
    try:
        schema = migrations.current(engine)
    except SQLAlchemyError:
        return NO_ANSWER
    if schema != migrations.newest():
        return "down: its schema is not of this version; run mailganer migrate"
    return "ok"


def _disk(settings: Settings) -> str:
    return "down: no room left; no email leaves and no file comes in" if full_disks(settings) else "ok"


def _parts(session: Session, settings: Settings, now: datetime, *, named: bool) -> dict[str, str]:
    """Return the state of workers and beat. One that was never started is down only if a campaign needs it.

    Processes with other settings are named by host and process number when ``named``.
    """
    missed = _is_overdue(session, now)
    parts = {part: _state(_last_seen(session, part), now, missed=missed) for part in PARTS}
    for misfit in config_mismatches(session, settings, now):
        if not parts.get(misfit.part, "").startswith("down"):
            parts[misfit.part] = _otherwise(misfit, named=named)
    return parts


def _otherwise(misfit: ConfigMismatch, *, named: bool) -> str:
    process = misfit.process if named else f"a {misfit.part} process"
    return f"down: {process} uses another {misfit.what} than this web process; run mailganer doctor"


def _is_overdue(session: Session, now: datetime) -> bool:
    """Return whether a campaign should have started.

    If so, this is not an installation that only serves pages.
    """
    due = select(Campaign.id).where(
        Campaign.status == CampaignStatus.scheduled, Campaign.send_at < now - SILENT_AFTER
    )
    return session.scalar(due.limit(1)) is not None


def _age(seen: datetime | None, now: datetime) -> int | None:
    """Return the whole seconds since ``seen``."""
    return None if seen is None else round((now - seen).total_seconds())


def _last_seen(session: Session, part: str) -> datetime | None:
    return session.scalar(select(func.max(Heartbeat.seen_at)).where(Heartbeat.name.startswith(part)))


def _state(seen: datetime | None, now: datetime, *, missed: bool) -> str:
    if seen is None:
        return "down: never started, and a campaign is due" if missed else "not started"
    if abs(now - seen) > SILENT_AFTER:  # a heartbeat in the future was written before the clock was set back
        return f"down: last heard {seen.isoformat(timespec='seconds')}"
    return "ok"


# --- metrics -----------------------------------------------------------------------------------------------


@view_config(route_name="metrics", permission=PUBLIC)
def metrics(request: Request) -> Response:
    """Return Prometheus text: values from the database and the counters of the processes.

    Allowed with the token, and from private networks.
    """
    if not may_read_metrics(request):
        return Response(
            "Send the token of mailganer.metrics_token, or ask from a private network.\n",
            status=401,
            content_type="text/plain",
            charset="utf-8",
            headers={"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"},
        )
    rows = CollectorRegistry()
    backlog, now = request.registry["broker"].backlog(), database_now(request.dbsession)
    rows.register(Rows(request.dbsession, now, backlog))
    rows.register(SendingMetrics(request.dbsession, request.registry["backends"], now))
    text = generate_latest(_counted()) + generate_latest(rows)
    return Response(text, headerlist=[("Content-Type", CONTENT_TYPE_LATEST), ("Cache-Control", "no-store")])


def _counted() -> CollectorRegistry:
    """Return the metrics of all processes on this machine when they share a folder, else of this process."""
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


class Rows(Collector):
    """Metrics read from the database. Emails are sums over the batches of unfinished campaigns."""

    def __init__(self, session: Session, now: datetime, backlog: Backlog | None) -> None:
        self.session = session
        self.now = now
        self.backlog = backlog

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._by_status("mailganer_campaigns", "Campaigns by status.", Campaign)
        yield self._by_status("mailganer_senders", "Senders by status.", Sender)
        yield from self._emails()
        yield self._silence()
        yield from self._tick()
        yield from self._queue()

    def _by_status(self, name: str, text: str, model: Any) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["status"])
        query = select(model.status, func.count()).group_by(model.status)
        if hasattr(model, "deleted_at"):
            query = query.where(model.deleted_at.is_(None))
        for status, number in self.session.execute(query):
            family.add_metric([status.value], number)
        return family

    def _emails(self) -> Iterator[GaugeMetricFamily]:
        families = (
            GaugeMetricFamily(ACTIVE_EMAILS, "Emails of campaigns that are not finished.", labels=["status"]),
            GaugeMetricFamily(OLD_ACTIVE_EMAILS, f"Deprecated: use {ACTIVE_EMAILS}.", labels=["status"]),
        )
        sums = [func.coalesce(func.sum(getattr(Batch, name)), 0) for name in COUNTED]
        going_on = (CampaignStatus.sending, CampaignStatus.paused)
        row = self.session.execute(select(*sums).join(Campaign).where(Campaign.status.in_(going_on))).one()
        for name, number in zip(COUNTED, row, strict=True):
            for family in families:
                family.add_metric([name], int(number))
        yield from families

    def _tick(self) -> Iterator[GaugeMetricFamily]:
        if seen := _last_seen(self.session, "beat"):
            age = max(0.0, (self.now - seen).total_seconds())
            yield GaugeMetricFamily("mailganer_tick_age_seconds", "Since the last tick.", value=age)

    def _queue(self) -> Iterator[GaugeMetricFamily]:
        if self.backlog is None:
            return
        yield GaugeMetricFamily(
            "mailganer_queue_messages", "Messages that wait for a worker.", value=self.backlog.messages
        )
        if self.backlog.oldest is not None or not self.backlog.messages:
            age = self.backlog.oldest or 0.0
            yield GaugeMetricFamily("mailganer_queue_age_seconds", "Age of the oldest of them.", value=age)

    def _silence(self) -> GaugeMetricFamily:
        family = GaugeMetricFamily("mailganer_silence_seconds", "Since a part was heard.", labels=["part"])
        for part in PARTS:
            if seen := _last_seen(self.session, part):
                family.add_metric([part], (self.now - seen).total_seconds())
        return family


def metrics_tween(
    handler: Callable[[Request], Response], _registry: Registry
) -> Callable[[Request], Response]:
    """Count and time every response by route name: paths contain tokens."""

    def tween(request: Request) -> Response:
        start = time.perf_counter()
        response = handler(request)
        route = request.matched_route.name if getattr(request, "matched_route", None) else "none"
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(method, route, response.status_int).inc()
        SECONDS.labels(route).observe(time.perf_counter() - start)
        return response

    return tween
