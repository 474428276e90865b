"""Thread pool for calls to external servers that a request waits for.

A server that accepts the connection and does not respond costs 15 seconds. If request threads waited for it,
a dozen sign-ins would block the web interface for all users.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import Any, Generic, TypeVar, cast

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request

from ..errors import Busy, Throttled, Unreachable, _
from .pending_forms import WAITED_FOR
from .rate_limits import network, site
from .security_policy import is_api

T = TypeVar("T")

SECONDS = 15.0  # deadline of one call
ENDS_BEFORE = 0.5  # seconds by which our connection times out earlier, so that its own error is reported
MOST_CALLS = 12
MOST_STRANGERS = 8  # of these: the rest is reserved for accounts and for browsers that signed in before
PER_NETWORK = 2
PER_SITE = 4
MOST_WAITING = 4  # request threads waiting for a call at once: half of the web server's threads
MOST_STRANGERS_WAITING = 3
PATIENCE = 2.0  # seconds after which a page shows that it is waiting


class OutsideCall(Generic[T]):
    """One call to an external server: reserved, started, finished. Its result stays readable."""

    def __init__(self, calls: "OutsideCalls", place: str, site: str, *, is_known: bool) -> None:
        self.place, self.site, self.is_known = place, site, is_known
        self.started_at = time.monotonic()
        self._calls = calls
        self._done = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        """Return whether there is a result or the deadline has passed."""
        return self._done.is_set() or self.left() <= 0

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return self.started_at + self._calls.seconds - time.monotonic()

    def start(self, work: Callable[[], T]) -> None:
        """Run ``work`` in a thread of its own, which keeps its place in the pool until it has ended."""
        threading.Thread(target=self._run, args=(work,), name="outside", daemon=True).start()

    def cancel(self) -> None:
        """Free the place without making the call."""
        self._calls.leave(self)

    def wait(self, seconds: float) -> None:
        """Wait for the result, at most ``seconds`` and until the deadline."""
        self._done.wait(max(0.0, min(seconds, self.left())))

    def result(self) -> T:
        """Return the result of the call. Raise what it raised, or ``Unreachable`` after the deadline."""
        if not self._done.is_set():
            raise Unreachable(
                _("The server did not finish within ${seconds} seconds. Check the settings or try "
"again later.",
                  mapping={"seconds": round(self._calls.seconds)})
            )  # fmt: skip
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._value = work()
        except BaseException as error:  # raised again in result()
            self._error = error
        finally:
            self._calls.leave(self)
            self._done.set()


class OutsideCalls:
    """Pool of calls, limited in total and by network. Calls over a limit are refused at once, never queued.

    Some places are reserved for known clients: signed-in accounts, and browsers that have signed in with the
    same login before. Each known client counts as a network of its own.
    """

    def __init__(
        self,
        *,
        most: int = MOST_CALLS,
        strangers: int = MOST_STRANGERS,
        per_network: int = PER_NETWORK,
        per_site: int = PER_SITE,
        waiting: int = MOST_WAITING,
        strangers_waiting: int = MOST_STRANGERS_WAITING,
        seconds: float = SECONDS,
        patience: float = PATIENCE,
    ) -> None:
        self.most, self.strangers = most, strangers
        self.per_network, self.per_site = per_network, per_site
        self.seconds, self.patience = seconds, patience
        self._seats = threading.BoundedSemaphore(waiting)
        self._seats_of_strangers = threading.BoundedSemaphore(strangers_waiting)
        self._lock = threading.Lock()
        self._running: list[OutsideCall[Any]] = []

    def reserve(self, address: str | None, *, known: str = "", by_network: bool = True) -> OutsideCall[Any]:
        """Reserve a place in the pool and return its call.

        ``known`` names an account or a browser that signed in before. Without ``by_network`` only the limits
        of the whole pool apply. Raise ``Throttled`` when the network's places are taken, ``Busy`` when the
        pool's are.
        """
        place, wide = known or network(address), "" if known else site(address)
        with self._lock:
            if by_network:
                self._refuse_more_than(self.per_network, [c for c in self._running if c.place == place])
            if by_network and wide:
                self._refuse_more_than(self.per_site, [c for c in self._running if c.site == wide])
            strangers = [call for call in self._running if not call.is_known]
            if not known and len(strangers) >= self.strangers:
                raise busy(self._frees(strangers))
            if len(self._running) >= self.most:
                raise busy(self._frees(self._running))
            call: OutsideCall[Any] = OutsideCall(self, place, wide, is_known=bool(known))
            self._running.append(call)
        return call

    def _refuse_more_than(self, most: int, running: list[OutsideCall[Any]]) -> None:
        if len(running) >= most:
            raise Throttled(
                _("${most} checks for your account are already running. Try again when they are "
"finished.",
                  mapping={"most": most}),
                retry_after=self._frees(running),
            )  # fmt: skip

    def leave(self, call: OutsideCall[Any]) -> None:
        """Free the place of a finished call."""
        with self._lock, suppress(ValueError):
            self._running.remove(call)

    @contextmanager
    def seat(self, *, known: bool = True) -> Iterator[bool]:
        """Yield whether this thread may wait for a call.

        The number of waiting threads is limited, more strictly for strangers.
        """
        needed = [self._seats] if known else [self._seats_of_strangers, self._seats]
        taken = list(takewhile(lambda seats: seats.acquire(blocking=False), needed))
        try:
            yield len(taken) == len(needed)
        finally:
            for seats in taken:
                seats.release()

    def _frees(self, calls: list[OutsideCall[Any]]) -> int:
        """Return the seconds until the earliest deadline of the calls."""
        left = min(call.left() for call in calls)
        return math.ceil(left if left > 0 else self.seconds)


def busy(retry_after: int) -> Busy:
    """Return the error for a full pool."""
    return Busy(_("Too many server checks are running right now. Try again in a moment."), retry_after)


def _name_of(request: Request, device: str) -> str:
    """Return the name a known client is counted under; "" for a stranger."""
    if request.account is not None:
        return f"account {request.account.id}"
    return f"device {device}" if device else ""


def ask(
    request: Request,
    work: Callable[[], T],
    *,
    release: Callable[[Request], None],
    count: Callable[[], None] = lambda: None,
    device: str = "",
    notice: bool = False,
) -> T:
    """Run ``work``, which calls another server, while the request holds no transaction.

    ``count`` is called once the call has its place; ``release`` ends the transaction; ``device`` is the id of
    a browser that has signed in with the same login before. The API waits up to the deadline. A page waits
    ``PATIENCE`` seconds, then redirects to the waiting page, which sends the same form again when the call
    has ended: this function then returns the stored result, and ``work`` does not run again. A ``notice`` is
    a request from a server that notifies us: it waits as the API does, and its network may send many at once.
    Raise what ``work`` raises, ``Throttled``, ``Busy`` and ``Unreachable``.
    """
    waited_for: OutsideCall[T] | None = request.environ.get(WAITED_FOR)
    if waited_for is not None:
        release(request)
        return waited_for.result()
    calls: OutsideCalls = request.registry["outside"]
    is_page = not (notice or is_api(request))
    known = _name_of(request, device)
    with calls.seat(known=bool(known)) as seated:
        if not (seated or is_page):
            raise busy(math.ceil(calls.seconds))
        call: OutsideCall[T] = calls.reserve(request.remote_addr, known=known, by_network=not notice)
        try:
            count()
            release(request)
            call.start(work)
        except BaseException:
            call.cancel()
            raise
        if seated:
            call.wait(calls.patience if is_page else calls.seconds)
    if is_page and not call.is_over:
        key = request.registry["pending"].keep(request, call)
        raise HTTPSeeOther(request.route_path("waiting", key=key))
    return call.result()
