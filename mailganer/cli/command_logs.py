"""Logging of commands that are not part of an installation: JSON on standard error.

The formatter is imported when there is something to write: most commands log nothing, and respond sooner.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class CommandHandler(logging.StreamHandler[TextIO]):
    """Write to the current standard error: a progress bar replaces it while it is shown."""

    is_plain = False  # readable text, as the other parts write in development

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        if self.formatter is None:
            self.formatter = _plain() if self.is_plain else _json()
        return super().format(record)


@contextmanager
def command_logs() -> Iterator[None]:
    """Write what is logged during a command as one JSON object per line, warnings and above.

    Messages to the command's user stay sentences. ``show_plainly`` is for an installation in development.
    """
    root, handler = logging.getLogger(), CommandHandler()
    root.addHandler(handler)
    logging.captureWarnings(False)  # start anew, whatever has replaced warnings.showwarning in between
    logging.captureWarnings(True)
    try:
        yield
    finally:
        root.removeHandler(handler)
        logging.captureWarnings(False)


def show_plainly() -> None:
    """Write the log of a command as readable text from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, CommandHandler):
            handler.is_plain, handler.formatter = True, None


def _plain() -> logging.Formatter:
    return logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def _json() -> logging.Formatter:
    from ..logs import json_formatter

    return json_formatter()
