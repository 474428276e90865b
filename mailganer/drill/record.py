"""The record that a drill's mail server writes: one line per email, refusal or broken connection."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

RECORD, PORT = "record", "port"
TAKEN, DROPPED, REPLIED = "taken", "dropped", "replied"


@dataclass(frozen=True)
class DrillRecord:
    """The record of a drill's server."""

    taken: tuple[str, ...] = ()  # recipients, one entry per email
    dropped: int = 0  # connections broken by the server
    refusals: Counter[str] | None = None  # refusals by their code


def read_record(folder: Path) -> DrillRecord:
    """Read everything a server recorded."""
    path = folder / RECORD
    lines = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
    return DrillRecord(
        taken=tuple(line[2] for line in lines if line[0] == TAKEN),
        dropped=sum(line[0] == DROPPED for line in lines),
        refusals=Counter(" ".join(line[3].split()[:2]) for line in lines if line[0] == REPLIED),
    )
