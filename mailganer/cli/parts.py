"""Commands that run one part each: ``mailganer web``, ``mailganer worker``, ``mailganer beat``."""

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from .common import check_free, collector_paused, ini_argument, make_data_folder, read_settings
from .parent import die_with_parent

if TYPE_CHECKING:
    from celery import Celery

    from ..settings import Settings

WEB_THREADS = 9  # pages wait for the database and, at sign-in, for a mail server: more threads than cores
# The thread that reads requests gives the interpreter away at each of its system calls, and gets it back from
# a busy thread only after this time. The default is ten times as long: thirty milliseconds for one pixel.
SWITCH_SECONDS = 0.0005
LARGEST_REQUEST = 512 * 1024 * 1024  # bytes; a list of a million subscribers is about a fifth of it
IDLE_SECONDS = 60  # a connection without traffic for so long is closed
CONNECTIONS = 500  # an idle browser keeps up to six of them open
QUIET = "WARNING"  # INFO would log a tick every two seconds
CELERY_OPTIONS = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command()
@ini_argument
def web(ini: str | None) -> None:
    """Serve the pages, the API and the recipients' links of INI."""
    signal.signal(signal.SIGTERM, _leave)
    with collector_paused():
        from ..broker_monitor import monitor_broker
        from ..logs import survive_full_disk
        from ..sending.process_reports import ProcessReport
        from ..settings.ini_file import open_ini
        from .server import make_server

        settings = read_settings(ini)
        check_free(settings.listen, "mailganer.listen")
        make_data_folder(settings)
        survive_full_disk()
        ini_file = open_ini(os.environ["MAILGANER_INI"])
        ini_file.setup_logging()
        application = ini_file.get_wsgi_app("main")
        options = web_options(settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    server = make_server(
        application,
        application.is_prompt,
        {},
        limit=application.registry["body_limits"],
        may_begin=application.may_begin,
        begin=application.begin,
        **options,
    )
    report = ProcessReport("web", settings)
    report.start()
    monitor_broker("web", settings)
    try:
        server.run()
    finally:
        report.end()


def web_options(settings: "Settings") -> dict[str, object]:
    """Return waitress's options.

    None is left to its default: a gigabyte per request, any proxy, four threads.
    """
    options: dict[str, object] = {
        "listen": settings.listen,
        "threads": WEB_THREADS,
        "max_request_body_size": LARGEST_REQUEST,
        "channel_timeout": IDLE_SECONDS,
        "connection_limit": CONNECTIONS,
        "ident": None,  # do not reveal the server software
        "url_scheme": "https" if settings.secure else "http",
        "clear_untrusted_proxy_headers": True,
    }
    if settings.trusted_proxy:
        options |= {
            "trusted_proxy": settings.trusted_proxy,
            "trusted_proxy_count": 1,
            "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"},
        }
    return options


@click.command(context_settings=CELERY_OPTIONS)
@ini_argument
@click.option(
    "--concurrency", "-c", type=click.IntRange(1, 64), default=None, help="Number of processes. Default: 2."
)
@click.option("--loglevel", "-l", default=QUIET, show_default=True)
@click.pass_context
def worker(context: click.Context, ini: str | None, concurrency: int | None, loglevel: str) -> None:
    """Run a worker for INI. Further options go to Celery's own worker command."""
    from celery.signals import worker_process_init

    ini, rest = _split(ini, context.args)
    make_data_folder(read_settings(ini))
    # The processes of the pool outlive a lost worker until the emails in flight are settled: losing it takes
    # as little as a broker that goes away at the wrong time.
    worker_process_init.connect(_die_with_worker, weak=False)
    _celery().worker_main(
        [
            "--quiet",  # no banner: each line of the log is an event
            "worker",
            f"--concurrency={concurrency or 2}",
            f"--loglevel={loglevel}",
            *rest,
        ]
    )


@click.command(context_settings=CELERY_OPTIONS)
@ini_argument
@click.option("--loglevel", "-l", default=QUIET, show_default=True)
@click.pass_context
def beat(context: click.Context, ini: str | None, loglevel: str) -> None:
    """Run the clock for INI: it enqueues a tick every two seconds."""
    ini, rest = _split(ini, context.args)
    read_settings(ini)
    # No schedule file (mailganer.worker:Ticker): the database holds what is due.
    _celery().start(["--quiet", "beat", "--pidfile=", f"--loglevel={loglevel}", *rest])


def _celery() -> "Celery":
    from ..logs import survive_full_disk
    from ..worker import app

    survive_full_disk()

    return app


def _split(ini: str | None, rest: list[str]) -> tuple[str | None, list[str]]:
    """Return the settings file and the remaining options.

    A leading Celery option is not the settings file.
    """
    return (None, [ini, *rest]) if ini and ini.startswith("-") else (ini, rest)


def _die_with_worker(**_: object) -> None:
    die_with_parent(signal.SIGTERM)


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
