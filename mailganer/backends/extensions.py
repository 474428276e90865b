"""SMTP extensions that a server offers in its answer to EHLO but does not support.

A proxy or a load balancer may pass on the offer of the server behind it and still refuse the command. The
finding is kept per server, in this process, for a limited time, because servers get fixed.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock

CHUNKING = "CHUNKING"
PIPELINING = "PIPELINING"

REFUSED_FOR = 86_400.0  # seconds; the server does not know the command
SUSPECTED_FOR = 3_600.0  # seconds; the connection broke at the first use of the extension
MOST_SERVERS = 1_000  # users name the servers, so the table is bounded

_unusable: OrderedDict[tuple[str, int, str], float] = OrderedDict()
_lock = Lock()


def avoid(host: str, port: int, extension: str, seconds: float = REFUSED_FOR) -> None:
    """Do not use this extension of this server for a number of seconds."""
    with _lock:
        _unusable[host, port, extension] = time.monotonic() + seconds
        _unusable.move_to_end((host, port, extension))
        while len(_unusable) > MOST_SERVERS:
            _unusable.popitem(last=False)


def is_avoided(host: str, port: int, extension: str) -> bool:
    """Return whether the extension of this server must not be used now."""
    until = _unusable.get((host, port, extension))
    return until is not None and time.monotonic() < until


def forget() -> None:
    """Forget all findings, so that every offered extension is tried again."""
    with _lock:
        _unusable.clear()
