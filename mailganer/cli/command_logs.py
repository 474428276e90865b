"""The log of a command that is no part of an installation: JSON on standard error.

Nothing is imported for it before there is something to write: most commands log nothing, and answer sooner.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class CommandHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is at that time: a progress bar replaces it while it is shown."""

    is_plain = False  # for people, as the other parts write while developing

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        if self.formatter is None:
            self.formatter = _plain() if self.is_plain else _json()
        return super().format(record)


@contextmanager
def command_logs() -> Iterator[None]:
    """Write what is logged during a command as one JSON object a line, warnings and worse.

    What a command tells its user stays sentences. ``show_plainly`` is for an installation in development.
    """
    root, handler = logging.getLogger(), CommandHandler()
    root.addHandler(handler)
    logging.captureWarnings(False)  # begins anew, whatever has replaced warnings.showwarning since
    logging.captureWarnings(True)
    try:
        yield
    finally:
        root.removeHandler(handler)
        logging.captureWarnings(False)


def show_plainly() -> None:
    """Write the log of a command for people from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, CommandHandler):
            handler.is_plain, handler.formatter = True, None


def _plain() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def _json() -> logging.Formatter:
    from ..logs import json_formatter

    return json_formatter()
