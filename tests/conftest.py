"""Real parts for the tests: databases, brokers, a mail server, the web application, a browser.

Servers start when the first test asks for them and end with the run (one of each per xdist worker). A
fixture belongs to one test: an empty database, an empty broker, a mail server with no
emails. ``database_url`` and ``broker_url`` run a test on both kinds; to have only one, write

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from mailganer.backends import extensions
from mailganer.db import make_engine, make_sessions
from mailganer.logs import Outage
from mailganer.models import Account, Campaign, Sender, Subscriber, SubscriberList
from mailganer.rendering import MessageRenderer, render_process
from mailganer.rendering import engine as engine_of_emails
from mailganer.settings import ENVIRONMENT, Settings, from_mapping
from mailganer.vault import Vault

from .support import outside, slow
from .support.compiled_sql import compiled_once
from .support.databases import KINDS, Databases
from .support.embedded_broker import EmbeddedBroker
from .support.factories import Factory, Make
from .support.installation import Installation
from .support.redis import Redis
from .support.smtp import SMTPServer

if TYPE_CHECKING:  # most workers of a narrow run need no Pyramid
    from .support.applications import Applications

pytest_plugins = tuple(f"tests.fixtures.{each}" for each in ("api", "command", "pages", "sending"))

SECRET = "0123456789abcdef" * 4
BROKERS = ("redis", "embedded")
COLLECT_AFTER = (700, 10, 300)  # the oldest generation thirty times less often than by default


@pytest.fixture(autouse=True)
def _no_extensions_avoided() -> None:
    """Forget the ports of earlier tests' servers: another server may have them now."""
    extensions.forget()


@pytest.fixture(autouse=True)
def _no_outage_known() -> None:
    """Forget the outages of earlier tests: a known outage is not logged again."""
    Outage.forget_all()


def pytest_configure(config: pytest.Config) -> None:
    for name in (*ENVIRONMENT, "MAILGANER_INI"):
        os.environ.pop(name, None)  # the settings of the machine are not the tests' settings
    # Hundreds of tests start a Python, and each would compile the whole program again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow.mark(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers ``-n auto`` starts: tests wait for servers half of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + min(cores, 4)


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Iterator[None]:
    """Spare the garbage collector what is loaded while tests are collected: it stays to the end.

    Each collection of the oldest generation would traverse all of it again, and what tests share, such as
    configured applications. By Python's own thresholds these took a tenth of the processor time of all tests.
    """
    gc.disable()
    yield
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()


@pytest.fixture(autouse=True)
def _nothing_outside() -> None:
    outside.close()  # before every test: plugins that guard sockets too remove their guard after each


@pytest.fixture(scope="session", autouse=True)
def _installed_packages_are_searched_once() -> Iterator[None]:
    """Search the installed packages for plugins once; settings and applications of every test would do it
    several times. With another ``sys.path``, as tests of plugins have, they are searched anew."""
    path, found = list(sys.path), cache(lambda group: entry_points(group=group))

    def known(*, group: str) -> EntryPoints:
        return found(group) if sys.path == path else entry_points(group=group)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("backends.registry", "billing.providers", "settings.reader", "settings.unknown_names"):
            patch.setattr(f"mailganer.{name}.entry_points", known)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_template_in_a_transaction() -> Iterator[None]:
    """Check that this process renders outside transactions too; the render process itself refuses
    to work inside one."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((MessageRenderer, "render"), (engine_of_emails, "_compiled_link")):
            patch.setattr(owner, name, _outside_of_transactions(getattr(owner, name)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _sql_is_compiled_once() -> Iterator[None]:
    with compiled_once():
        yield


def _outside_of_transactions(render: Callable[..., Any]) -> Callable[..., Any]:
    def watched(*arguments: Any) -> Any:
        render_process.require_no_transaction()
        return render(*arguments)

    return watched


# Databases


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    databases = Databases()
    yield databases
    databases.stop()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """An empty, migrated database, on SQLite and on PostgreSQL."""
    url = databases.fresh(request.param)
    yield url
    databases.drop(url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return make_sessions(engine)


@pytest.fixture
def session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A session of the test; other sessions see only what it commits."""
    with sessions() as session:
        yield session


# Settings


@pytest.fixture
def ini_values(database_url: str, redis_server: Redis, tmp_path: Path) -> dict[str, str]:
    """The values of ``[app:main]``; a test may change them before it asks for ``settings`` or ``app``."""
    return {
        "sqlalchemy.url": database_url,
        "celery.broker_url": redis_server.url,
        "mailganer.secret_key": SECRET,
        "mailganer.public_url": "http://localhost",
        "mailganer.backends": "gmail smtp maildir",
        "mailganer.backend.maildir.folder": str(tmp_path / "maildir"),
        "mailganer.allow_private_smtp_hosts": "true",
        "mailganer.smtp_ports": "25 465 587 2525",
        "mailganer.data_dir": str(tmp_path / "var"),
        # Campaigns of these tests are due on a Monday in November, and many run by today's clock.
        "mailganer.latest_start_hours": "876000",
        "mailganer.plans": "free pro",
        "mailganer.plan.free.title": "Free",
        "mailganer.plan.free.per_day": "200",
        "mailganer.plan.free.max_subscribers": "1000",
        "mailganer.plan.pro.title": "Pro",
        "mailganer.plan.pro.per_day": "100000",
        "mailganer.plan.pro.max_subscribers": "1000000",
        "mailganer.plan.pro.price": "1 900 ₽",
    }


@pytest.fixture
def settings(ini_values: dict[str, str]) -> Settings:
    return from_mapping(ini_values, environ={})


@pytest.fixture
def vault(settings: Settings) -> Vault:
    return Vault(settings.secret_keys)


@pytest.fixture
def now() -> datetime:
    """A Monday morning in November."""
    return datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


# Rows. Each is flushed in ``session``; commit if another session or process has to see them.


@pytest.fixture
def make(session: Session, now: datetime) -> Factory:
    """``make.account()``, ``make.sender(account)``, ``make.list(account)``, ``make.campaign(...)`` ..."""
    return Factory(session, now, Vault((SECRET,)))


@pytest.fixture
def account(make: Factory) -> Account:
    return make.account("anna@example.com")


@pytest.fixture
def make_account(make: Factory) -> Callable[..., Account]:
    return make.account


@pytest.fixture
def make_sender(make: Factory) -> Callable[..., Sender]:
    return make.sender


@pytest.fixture
def make_list(make: Factory) -> Callable[..., SubscriberList]:
    return make.list


@pytest.fixture
def make_subscriber(make: Factory) -> Callable[..., Subscriber]:
    return make.subscriber


@pytest.fixture
def make_subscribers(make: Factory) -> Callable[..., Sequence[int]]:
    return make.subscribers


@pytest.fixture
def make_template(make: Factory) -> Make:
    return make.template


@pytest.fixture
def make_campaign(make: Factory) -> Callable[..., Campaign]:
    return make.campaign


# Brokers


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Redis]:
    server = Redis()
    yield server
    server.stop()


@pytest.fixture
def redis_server(shared_redis: Redis) -> Redis:
    """An empty Redis. To kill one, start another: ``tests.support.redis.Redis``."""
    shared_redis.wipe()
    return shared_redis


@pytest.fixture(scope="session")
def shared_embedded_broker() -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker()
    yield broker
    broker.stop()


@pytest.fixture(params=BROKERS)
def broker_url(request: pytest.FixtureRequest) -> str:
    """An empty broker: a Redis, and the embedded one as ``mailganer serve`` starts it."""
    if request.param == "redis":
        return request.getfixturevalue("redis_server").url
    broker = request.getfixturevalue("shared_embedded_broker")
    broker.wipe()
    return broker.url


# Mail


@pytest.fixture
def smtp_server() -> Iterator[SMTPServer]:
    """A mail server with the login anna@example.com and the password "secret"."""
    server = SMTPServer()
    yield server
    server.stop()


# The web


@pytest.fixture(scope="session")
def _document_is_read_once() -> Iterator[None]:
    """Read the API's document once; every application would read the same."""
    from mailganer.api import document

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "_read", cache(document._read))
        yield


@pytest.fixture(scope="session")
def _templates_are_compiled_once() -> Iterator[None]:
    """Share compiled templates: an application compiles each on first use, and most tests have their own
    application, which would spend half of its time on that."""
    import mailganer

    settings, compiled = mailganer._pyramid_settings, Compiled()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            mailganer,
            "_pyramid_settings",
            lambda each: settings(each) | {"jinja2.bytecode_caching": compiled},
        )
        yield


class Compiled(BytecodeCache):
    """Templates compiled earlier in this process, from the same source."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._known.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session")
def applications(_document_is_read_once: None, _templates_are_compiled_once: None) -> "Applications":
    """The applications of this test worker, each configured once."""
    from .support.applications import Applications

    return Applications()


@pytest.fixture
def wsgi_app(applications: "Applications", ini_values: dict[str, str]) -> Any:
    """The whole application, as ``pserve`` would make it, without state of an earlier test."""
    from .support.applications import close

    app = applications.make(ini_values)
    yield app
    close(app)


@pytest.fixture
def app(wsgi_app: Any) -> Any:
    """A WebTest client with an empty cookie jar."""
    from webtest import TestApp

    return TestApp(wsgi_app, extra_environ={"HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1"})


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from .support.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """``new_page(locale="ru-RU", viewport=..., color_scheme=...)``: a page in a context of its own.

    The test fails on script errors and on violations of the content security policy.
    """
    from .support.browser import PATIENCE, watch

    contexts, problems = [], []

    def open_page(**options: Any) -> Any:
        defaults = {"locale": "en-GB", "viewport": {"width": 1280, "height": 900}}
        context = browser.new_context(**{**defaults, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        problems.append(watch(page))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for found in problems for text in found] == []


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    return new_page()


# A whole installation


@pytest.fixture
def start_installation(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """``start_installation(database_url=..., broker_url=..., demo=False, ...)``: ``mailganer serve``."""
    started: list[Installation] = []

    def start(**options: Any) -> Installation:
        installation = Installation(tmp_path / f"installation{len(started)}", **options)
        started.append(installation)
        installation.start()
        return installation

    yield start
    for installation in started:
        installation.stop()


@pytest.fixture(params=["embedded", "production"])
def live(
    request: pytest.FixtureRequest, databases: Databases, start_installation: Callable[..., Installation]
) -> Iterator[Installation]:
    """A running installation on a free port, on the embedded parts and on PostgreSQL with Redis."""
    if request.param == "embedded":
        yield start_installation(database_url=databases.fresh("sqlite"))
        return
    url = databases.fresh("postgresql")
    installation = start_installation(
        database_url=url, broker_url=request.getfixturevalue("redis_server").url
    )
    yield installation
    installation.stop()
    databases.drop(url)
