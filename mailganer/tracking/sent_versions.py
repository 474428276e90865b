"""Email versions kept in memory: what a campaign sends is frozen, so a version never has to be read again."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from .. import rendering
from ..errors import EmailError
from ..models import FrozenEmail
from ..rendering.rendered_links import other_recipients_link

VersionKey = tuple[int, datetime]
"""Id of a frozen email and when it was frozen: SQLite uses the ids of deleted rows again."""

MOST_VERSIONS = 200
MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SentVersion:
    """A compiled email and the targets of those of its links that are the same for every recipient."""

    email: rendering.CompiledEmail
    targets: tuple[str | None, ...]

    @classmethod
    def of(cls, email: rendering.CompiledEmail, ours: str) -> "SentVersion":
        return cls(email, tuple(_target(email, number, ours) for number in range(1, len(email.links) + 1)))

    @property
    def size(self) -> int:
        """Return about how many bytes this takes."""
        email = self.email
        texts = (email.subject, email.preheader, email.html, email.text, *email.links, *self.targets)
        fills = (len(name) + len(value) for name, value, _wins in email.fills)
        return 4 * (sum(len(each or "") for each in texts) + sum(fills)) + 200 * len(texts)


class SentVersions:
    """Cache of versions, shared by the threads of a process and bounded by number and bytes.

    ``sessions`` is called for each read, so the session factory may be replaced. ``ours`` is the public
    address of the installation.
    """

    def __init__(self, sessions: Callable[[], sessionmaker[Session]], ours: str = "") -> None:
        self._sessions, self._ours = sessions, ours
        self._lock, self._reading = Lock(), Lock()
        self._kept: OrderedDict[VersionKey, SentVersion] = OrderedDict()
        self._bytes = 0

    def known_target(self, key: VersionKey, number: int) -> str | None:
        """Return the target of a link if its version is in memory and all recipients share the target."""
        version = self._known(key)
        if version is None or not 1 <= number <= len(version.targets):
            return None
        return version.targets[number - 1]

    def get(self, key: VersionKey) -> SentVersion | None:
        """Return a version, read if necessary. Return None if there is no such version."""
        if found := self._known(key):
            return found
        with self._reading:  # threads that need the same version wait for one of them to decode it
            return self._known(key) or self._read(key)

    def _known(self, key: VersionKey) -> SentVersion | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _read(self, key: VersionKey) -> SentVersion | None:
        with self._sessions()() as session:
            compiled = session.scalar(
                select(FrozenEmail.compiled).where(FrozenEmail.id == key[0], FrozenEmail.created_at == key[1])
            )
        if compiled is None:
            return None
        version = SentVersion.of(rendering.CompiledEmail.from_json(compiled), self._ours)
        with self._lock:
            self._kept[key] = version
            self._bytes += version.size
            while len(self._kept) > MOST_VERSIONS or (self._bytes > MOST_BYTES and len(self._kept) > 1):
                _oldest, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.size
        return version


def _target(email: rendering.CompiledEmail, number: int, ours: str) -> str | None:
    """Return the target of a link that is the same for every recipient, else None.

    It is none if the link has variables, leads nowhere, or is a recipient's link at ``ours``, which becomes
    each recipient's own.
    """
    if "{" in email.links[number - 1]:
        return None
    try:
        target = rendering.render_link(email, number, {})
    except EmailError:
        return None
    return None if other_recipients_link(target, ours, "") else target
