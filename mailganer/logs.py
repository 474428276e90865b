"""Logging: one line per event on stderr, readable text in development, else JSON.

Tracebacks are written without the values of variables, because passwords pass through them.
"""

import io
import logging
import sys
import time
import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

import structlog
from structlog.typing import Processor

from .errors import is_full


class _Forgiving(io.FileIO):
    """A file that silently discards what does not fit on its full disk."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not is_full(error):
                raise
            return len(data)


def survive_full_disk() -> None:
    """Make stdout and stderr discard what does not fit on a full disk, so that no log ends the process."""
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        before.flush()
        file = io.BufferedWriter(_Forgiving(before.fileno(), "w", closefd=False))
        stream = io.TextIOWrapper(file, before.encoding, before.errors, line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


class Lines(structlog.PrintLogger):
    """Print lines to a file.

    A line that cannot be written, because a disk is full, is lost: serving a page is worth more.
    """

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def configure_logs(development: bool) -> None:
    """Set up the log format, once per process. Safe to call again."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_writer(development),
        ],
        logger_factory=lambda *_names: Lines(sys.stderr),  # stderr at the time of the call
    )
    handlers = [each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler]
    write_json(development, handlers)
    # waitress warns of every request that waits for a thread: under load a line for each of them.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def configure_part(development: bool, handlers: Iterable[logging.Handler]) -> None:
    """Write the log of a worker or beat like that of the web part: one JSON object per line.

    structlog goes through the standard library there, because Celery turns everything printed into a warning.
    Our own lines are written from INFO on, those of libraries as configured.
    """
    logging.getLogger("mailganer").setLevel(logging.INFO)
    write_through_logging()
    write_json(development, handlers)


def write_through_logging() -> None:
    """Let structlog hand everything to the standard library, whose handlers do the formatting."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def write_json(development: bool, handlers: Iterable[logging.Handler]) -> None:
    """Let handlers of the standard library write JSON, Python warnings included.

    In development they keep their readable lines, followed by the details of our events.
    """
    if development:
        for handler in handlers:
            if not isinstance(handler.formatter, _Detailed):
                handler.setFormatter(_Detailed(handler.formatter or logging.Formatter()))
        return
    logging.captureWarnings(True)
    for handler in handlers:
        handler.setFormatter(json_formatter())


class _Detailed(logging.Formatter):
    """Another formatter's line, followed by the details of our own events: ``campaign=3``."""

    def __init__(self, line: logging.Formatter) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        line = self._line.format(record)
        if not record.name.startswith("mailganer."):
            return line
        details = structlog.stdlib.ExtraAdder()(logging.getLogger(record.name), "", {"_record": record})
        values = [f"{name}={value}" for name, value in details.items() if name not in _NO_DETAILS]
        return " ".join([line, *values])


_NO_DETAILS = frozenset({"_record", "_logger", "_name", "_from_structlog", "data", "message", "asctime"})


def json_formatter() -> logging.Formatter:
    """Return a formatter that writes any record as one JSON object per line."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_writer(development=False),
        ],
    )


def write_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    """Write a Python warning as JSON before logging is set up; a replacement for ``warnings.showwarning``."""
    text = warnings.formatwarning(message, category, filename, lineno, "").rstrip()
    record = logging.LogRecord("py.warnings", logging.WARNING, filename, lineno, text, None, None)
    print(json_formatter().format(record), file=sys.stderr, flush=True)


class Outage:
    """Log one line when a dependency becomes unavailable, and one when it is back, however often it is used.

    ``name`` names the dependency. Each process writes its own lines, whichever of its threads notices.
    """

    part: ClassVar[str] = ""  # "web", "worker" or "beat": begins the lines of this process
    _known: ClassVar[list["Outage"]] = []

    def __init__(self, name: str) -> None:
        self._name = name
        self._since: dict[str, tuple[float]] = {}  # setdefault and pop need no lock between threads
        self._is_muted = False
        self.is_monitored = False  # then only a monitor ends it: a use may go through an old connection
        self.failures = 0  # calls of ``began``; a caller sees by it whether another noticed the outage
        self._known.append(self)

    def mute(self) -> None:
        """Write no lines from now on, in processes forked later either: another ``Outage`` writes them."""
        self._is_muted = True

    def began(
        self,
        log: Any,
        message: str,
        *values: object,
        level: int = logging.WARNING,
        since: float | None = None,
        **details: object,
    ) -> None:
        """Write a line, unless the outage is known.

        ``since`` is a ``monotonic`` time, by default now. ``details`` work with structlog loggers only.
        """
        self.failures += 1
        mine = (time.monotonic() if since is None else since,)
        if not self._is_muted and self._since.setdefault("monotonic", mine) is mine:
            log.log(level, self._begin() + message, *values, **details)

    def ended(self, log: Any, *, by_monitor: bool = False) -> None:
        """Write how long the outage was, if there was one."""
        if self.is_monitored and not by_monitor:
            return
        since = self._since.pop("monotonic", None)
        if since is not None:
            log.warning("%s%s is back after %.0f s", self._begin(), self._name, time.monotonic() - since[0])

    def _begin(self) -> str:
        return f"{self.part}: " if self.part else ""

    @classmethod
    def forget_all(cls) -> None:
        """Reset all outages: for tests, which share a process."""
        for each in cls._known:
            each._since.clear()
            each.is_monitored = False
            each._is_muted = False
        cls.part = ""


def _writer(development: bool) -> tuple[Processor, ...]:
    if development:
        plain = structlog.dev.plain_traceback
        return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)
    return (structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False))


if not structlog.is_configured():
    write_through_logging()  # commands have no other place where structlog is set up
