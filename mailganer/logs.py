"""What is written down while it runs: one line an event, on stderr, for people while developing, else JSON.

Tracebacks come without the values of variables: passwords pass through them.
"""

import io
import logging
import sys
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import Processor

from .errors import is_full


class _Forgiving(io.FileIO):
    """A file that takes what does not fit on its disk as well, and forgets it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not is_full(error):
                raise
            return len(data)


def survive_full_disk() -> None:
    """From now on no part of us ends because its log cannot grow: what it wants to say is lost instead."""
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        before.flush()
        file = io.BufferedWriter(_Forgiving(before.fileno(), "w", closefd=False))
        stream = io.TextIOWrapper(file, before.encoding, before.errors, line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


class Lines(structlog.PrintLogger):
    """Lines on a file. One that cannot be written, because a disk is full, is lost: a page is worth more."""

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def configure_logs(development: bool) -> None:
    """Says once per process how events are written. Safe to call again."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_writer(development),
        ],
        logger_factory=lambda *_names: Lines(sys.stderr),  # stderr as it is then
    )
    # The web server warns of every request that waits for a thread: under load a line for each of them.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def _writer(development: bool) -> tuple[Processor, ...]:
    if development:
        plain = structlog.dev.plain_traceback
        return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)
    return (structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False))
