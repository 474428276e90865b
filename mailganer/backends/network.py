"""Limits and timeouts of accounts, and the servers that the operator allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Default limits of an account. None means that no limit is known.

    ``per_day`` counts recipients in any 24 hours, ``per_second`` emails, ``max_connections`` those open at
    the same time, ``per_connection`` emails before a connection is closed and reopened.
    """

    per_day: int | None = None
    per_second: float | None = None
    max_connections: int = 1
    per_connection: int | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds. ``command`` and those after it are as in RFC 5321, section 4.5.3.2."""

    connect: float = 20.0  # name resolution and all addresses together
    setup: float = 45.0  # everything until the login is accepted: a user may be waiting for it
    command: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final: float = 600.0
    close: float = 5.0


@dataclass(frozen=True, slots=True)
class Network:
    """What the operator allows backends to reach. Passed to each of them.

    ``ports`` applies to public hosts. With ``allow_private`` a user may name loopback and private hosts, on
    any port and without TLS; this is for development. ``ca_file`` is trusted in addition to the system's
    authorities.
    """

    allow_private: bool = False
    ports: frozenset[int] = frozenset({25, 465, 587, 2525})
    ca_file: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    until: float = math.inf  # time.monotonic() at which every connection ends, whatever the timeouts are
