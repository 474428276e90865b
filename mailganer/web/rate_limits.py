"""So many tries and no more: at passwords, at vouchers, at tokens of emails."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address, ip_address
from typing import Any

import limits
import structlog
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import Engine

from .. import accounts
from ..db import make_sessions
from ..errors import Throttled, _
from ..logs import Outage

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RateLimit:
    """So many tries in so many seconds."""

    name: str
    tries: int
    seconds: int


# Wide enough for a family behind one address and for typing mistakes, narrow enough that guessing passwords
# or scanning ports through us is not worth it. Counted before the try, so that fifty at once count fifty, and
# taken back when it succeeds.
PER_LOGIN = RateLimit("login", 10, 15 * 60)  # of one place: a network, or a browser that signed in before
PER_ADDRESS = RateLimit("address", 40, 10 * 60)
# All places together. A stranger can use these up for another user's login, so they never lock the owner out:
# while one is used up, each place has FEW tries left for each login.
ANYWHERE = RateLimit("login_anywhere", 50, 15 * 60)
PER_HOST = RateLimit("host", 300, 10 * 60)
ALTOGETHER = RateLimit("all", 2000, 10 * 60)
FEW = RateLimit("few", 3, 15 * 60)
# Successes as well: a server of one's own that takes any password makes an account with every try.
FROM_ONE_PLACE = RateLimit("place", 400, 10 * 60)
WRONG_TOKENS = RateLimit("token", 30, 10 * 60)
PER_PAYER = RateLimit("payer", 30, 10 * 60)  # voucher codes are long, and nobody types thirty of them

STORE_RESTS = 10  # seconds in which one that did not answer is not asked again


class RateLimiter:
    """Counts tries in Redis when there is one, else in the database where machines may be several, else here.

    Never fails because one of these is gone.
    """

    def __init__(self, broker_url: str, database: Storage | None = None) -> None:
        stores = [_redis(broker_url)] if _is_redis(broker_url) else []
        stores += [database] if database else []
        self._shared = [_Shared(FixedWindowRateLimiter(store)) for store in stores]
        self._memory = FixedWindowRateLimiter(MemoryStorage())

    def check_login(self, address: str | None, login: str, host: str, device: str = "") -> None:
        """Count one try to sign in. Raises ``Throttled``.

        ``device`` names a browser that has signed in with this login before: it has tries of its own, and
        what others try does not count. What is refused for a narrow rule does not count for a wider one.
        """
        place = _place(address, device)
        self.hit(FROM_ONE_PLACE, place)
        for rule, key in _own_keys(place, login, host):
            self.hit(rule, key)
        if device:
            return
        shared = [self._has_room(rule, key) for rule, key in _shared_keys(login, host)]
        if not all(shared):
            self.hit(FEW, _login_key(place, login, host))

    def check_token(self, address: str | None) -> None:
        """Count one wrong API token. Raises ``Throttled``; right tokens from the same network still work."""
        self.hit(WRONG_TOKENS, network(address))

    def check_payment(self, account_id: int) -> None:
        """Counts one try to pay. Raises ``Throttled``."""
        self.hit(PER_PAYER, str(account_id))

    def forgive(self, address: str | None, login: str, host: str, device: str = "") -> None:
        """Take back a try that succeeded, and the mistakes that this place made before with this login."""
        place = _place(address, device)
        shared = () if device else _shared_keys(login, host)
        for rule, key in (*_own_keys(place, login, host), *shared):
            take_back = _forget if rule is PER_LOGIN else _take_back
            self._either(partial(take_back, rule=rule, key=key))
        self._either(partial(_forget, rule=FEW, key=_login_key(place, login, host)))

    def _has_room(self, rule: RateLimit, key: str) -> bool:
        item = _item(rule)
        return bool(self._either(lambda limiter: limiter.hit(item, rule.name, key)))

    def hit(self, rule: RateLimit, key: str) -> None:
        """Counts one try under ``key``. Raises ``Throttled`` when there were too many."""
        if self._has_room(rule, key):
            return
        item = _item(rule)
        resets = self._either(lambda limiter: limiter.get_window_stats(item, rule.name, key).reset_time)
        seconds = max(1, round(resets - time.time()))
        raise Throttled(
            _("Too many tries in a short time. Wait ${minutes} min, then try again.",
              mapping={"minutes": -(-seconds // 60)}),
            retry_after=seconds,
        )  # fmt: skip

    def _either(self, do: Callable[[FixedWindowRateLimiter], Any]) -> Any:
        for store in self._shared:
            if time.monotonic() < store.rests_until:
                continue
            try:
                answer = do(store.limiter)
            except Exception as error:  # whatever its client raises: a lost Redis must not lock anybody out
                store.rests_until = time.monotonic() + STORE_RESTS
                store.outage.began(log, "throttle.store_lost", error=str(error))
            else:
                store.outage.ended(log)
                return answer
        return do(self._memory)


@dataclass
class _Shared:
    """A place where several processes count together."""

    limiter: FixedWindowRateLimiter
    rests_until: float = 0.0
    outage: Outage = field(default_factory=lambda: Outage("A store of rate limits"))


def shared_tries(engine: Engine) -> Storage | None:
    """Where several machines count together while there is no Redis."""
    return (
        accounts.DatabaseRateLimitStorage(make_sessions(engine))
        if engine.dialect.name == "postgresql"
        else None
    )


def _place(address: str | None, device: str) -> str:
    return f"device {device}" if device else network(address)


def _login_key(place: str, login: str, host: str) -> str:
    return f"{host.lower()} {login.lower()} {place}"


def _own_keys(place: str, login: str, host: str) -> Sequence[tuple[RateLimit, str]]:
    """Return what a try counts under that only this place can fill, the narrowest last."""
    return (PER_ADDRESS, place), (PER_LOGIN, _login_key(place, login, host))


def _shared_keys(login: str, host: str) -> Sequence[tuple[RateLimit, str]]:
    """Return what a try counts under that others fill as well."""
    server = host.lower()
    return (ANYWHERE, f"{server} {login.lower()}"), (PER_HOST, server), (ALTOGETHER, "all")


def _take_back(limiter: FixedWindowRateLimiter, rule: RateLimit, key: str) -> None:
    """One try less, unless its window has ended meanwhile."""
    kept = _item(rule).key_for(rule.name, key)
    if limiter.storage.get(kept) > 0:
        limiter.storage.incr(kept, rule.seconds, -1)


def _forget(limiter: FixedWindowRateLimiter, rule: RateLimit, key: str) -> None:
    limiter.clear(_item(rule), rule.name, key)


def _item(rule: RateLimit) -> limits.RateLimitItem:
    return limits.RateLimitItemPerSecond(rule.tries, rule.seconds)


def _is_redis(url: str) -> bool:
    return url.startswith(("redis://", "rediss://", "redis+socket://"))


def _redis(url: str) -> Storage:
    return RedisStorage(
        url.replace("redis+socket://", "redis+unix://"), socket_timeout=1, socket_connect_timeout=1
    )


def network(address: str | None) -> str:
    """What counts as one place: an IPv4 address, or the /64 that an IPv6 customer gets."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def site(address: str | None) -> str:
    """Return the /48 of an IPv6 address, which one customer can get as a whole; "" for any other.

    RFC 6177, section 2: a site gets a /48 to a /64.
    """
    place = network(address)
    if not place.endswith("/64"):
        return ""
    return f"{IPv6Address(int(IPv6Address(place.removesuffix('/64'))) >> 80 << 80)}/48"
