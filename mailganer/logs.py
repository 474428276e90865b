"""What is written down while it runs: one line an event, on stderr, for people while developing, else JSON.

Tracebacks come without the values of variables: passwords pass through them.
"""

import logging
import sys

import structlog
from structlog.typing import Processor


def configure_logs(development: bool) -> None:
    """Says once per process how events are written. Safe to call again."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_writer(development),
        ],
        logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr),  # stderr as it is then
    )
    # The web server warns of every request that waits for a thread: under load a line for each of them.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def _writer(development: bool) -> tuple[Processor, ...]:
    if development:
        plain = structlog.dev.plain_traceback
        return (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain),)
    return (structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False))
