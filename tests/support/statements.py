"""Records the statements that a block of code sends to the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Yield the list of statements that are sent inside the ``with`` block."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def recipient_scans(seen: list[str]) -> list[str]:
    """Return the statements that scan the recipients of a campaign."""
    return [each for each in seen if "count(" in each.lower() and "subscriber" in each.lower()]
