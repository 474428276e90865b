"""Rate limits for sign-ins, vouchers and tokens."""

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

from ..accounts.rate_limit_storage import DatabaseRateLimitStorage
from ..db import make_sessions
from ..errors import Throttled, _
from ..logs import Outage

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RateLimit:
    """Limit of ``tries`` within ``seconds``."""

    name: str
    tries: int
    seconds: int


# Wide enough for a family behind one address and for typing mistakes, narrow enough that guessing passwords
# or scanning ports through us is not worth it. A try is counted before it is made, so that fifty concurrent
# tries count as fifty, and taken back when it succeeds.
PER_LOGIN = RateLimit("login", 10, 15 * 60)  # per place: a network, or a browser that signed in before
PER_ADDRESS = RateLimit("address", 40, 10 * 60)
# All places together. A stranger can use these up for another user's login, so they never lock the owner out:
# while one is used up, each place has FEW tries left for each login.
ANYWHERE = RateLimit("login_anywhere", 50, 15 * 60)
PER_HOST = RateLimit("host", 300, 10 * 60)
ALTOGETHER = RateLimit("all", 2000, 10 * 60)
FEW = RateLimit("few", 3, 15 * 60)
# Counts successes as well: an attacker's own server that accepts any password creates an account per try.
FROM_ONE_PLACE = RateLimit("place", 400, 10 * 60)
WRONG_TOKENS = RateLimit("token", 30, 10 * 60)
PER_PAYER = RateLimit("payer", 30, 10 * 60)  # voucher codes are long; a user does not type thirty of them

STORE_RESTS = 10  # seconds to skip a storage after it failed


class RateLimiter:
    """Counter of tries in Redis if there is one, else in PostgreSQL, else in memory.

    Falls back to the next storage when one fails, so it never fails itself.
    """

    def __init__(self, broker_url: str, database: Storage | None = None) -> None:
        stores = [_redis(broker_url)] if _is_redis(broker_url) else []
        stores += [database] if database else []
        self._shared = [_Shared(FixedWindowRateLimiter(store)) for store in stores]
        self._memory = FixedWindowRateLimiter(MemoryStorage())

    def check_login(self, address: str | None, login: str, host: str, device: str = "") -> None:
        """Count one sign-in attempt. Raise ``Throttled``.

        ``device`` names a browser that has signed in with this login before: it has tries of its own, and
        tries of others do not count. A try refused by a narrow limit does not count for a wider one.
        """
        place = _place(address, device)
        self.hit(FROM_ONE_PLACE, place)
        for rule, key in _own_keys(place, login, host):
            self.hit(rule, key)
        if device:
            return
        shared = [self._try_hit(rule, key) for rule, key in _shared_keys(login, host)]
        if not all(shared):
            self.hit(FEW, _login_key(place, login, host))

    def check_token(self, address: str | None) -> None:
        """Count one wrong API token. Raise ``Throttled``; valid tokens from the same network still work."""
        self.hit(WRONG_TOKENS, network(address))

    def check_payment(self, account_id: int) -> None:
        """Count one payment attempt. Raise ``Throttled``."""
        self.hit(PER_PAYER, str(account_id))

    def forgive(self, address: str | None, login: str, host: str, device: str = "") -> None:
        """Take back a successful try, and this place's earlier failures with this login."""
        place = _place(address, device)
        shared = () if device else _shared_keys(login, host)
        for rule, key in (*_own_keys(place, login, host), *shared):
            take_back = _forget if rule is PER_LOGIN else _take_back
            self._in_first_storage(partial(take_back, rule=rule, key=key))
        self._in_first_storage(partial(_forget, rule=FEW, key=_login_key(place, login, host)))

    def _try_hit(self, rule: RateLimit, key: str) -> bool:
        item = _item(rule)
        return bool(self._in_first_storage(lambda limiter: limiter.hit(item, rule.name, key)))

    def hit(self, rule: RateLimit, key: str) -> None:
        """Count one try under ``key``. Raise ``Throttled`` over the limit."""
        if self._try_hit(rule, key):
            return
        item = _item(rule)
        resets = self._in_first_storage(
            lambda limiter: limiter.get_window_stats(item, rule.name, key).reset_time
        )
        seconds = max(1, round(resets - time.time()))
        raise Throttled(
            _("Too many attempts. Try again in ${minutes} min.",
              mapping={"minutes": -(-seconds // 60)}),
            retry_after=seconds,
        )  # fmt: skip

    def _in_first_storage(self, do: Callable[[FixedWindowRateLimiter], Any]) -> Any:
        for store in self._shared:
            if time.monotonic() < store.rests_until:
                continue
            try:
                answer = do(store.limiter)
            except Exception as error:  # any error of its client: a lost Redis must not lock users out
                store.rests_until = time.monotonic() + STORE_RESTS
                store.outage.began(log, "throttle.store_lost", error=str(error))
            else:
                store.outage.ended(log)
                return answer
        return do(self._memory)


@dataclass
class _Shared:
    """Storage in which several processes count together."""

    limiter: FixedWindowRateLimiter
    rests_until: float = 0.0
    outage: Outage = field(default_factory=lambda: Outage("A store of rate limits"))


def shared_storage(engine: Engine) -> Storage | None:
    """Return the storage in which several machines count together without Redis; None for SQLite."""
    return DatabaseRateLimitStorage(make_sessions(engine)) if engine.dialect.name == "postgresql" else None


def _place(address: str | None, device: str) -> str:
    return f"device {device}" if device else network(address)


def _login_key(place: str, login: str, host: str) -> str:
    return f"{host.lower()} {login.lower()} {place}"


def _own_keys(place: str, login: str, host: str) -> Sequence[tuple[RateLimit, str]]:
    """Return the limits and keys that only this place can use up, the narrowest last."""
    return (PER_ADDRESS, place), (PER_LOGIN, _login_key(place, login, host))


def _shared_keys(login: str, host: str) -> Sequence[tuple[RateLimit, str]]:
    """Return the limits and keys that other places use up as well."""
    server = host.lower()
    return (ANYWHERE, f"{server} {login.lower()}"), (PER_HOST, server), (ALTOGETHER, "all")


def _take_back(limiter: FixedWindowRateLimiter, rule: RateLimit, key: str) -> None:
    """Decrement a count, unless its window has ended in the meantime."""
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
    """Return the place an address counts as: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def site(address: str | None) -> str:
    """Return the /48 of an IPv6 address, which one customer can own as a whole; "" for any other address.

    RFC 6177, section 2: a site gets a /48 to a /64.
    """
    place = network(address)
    if not place.endswith("/64"):
        return ""
    return f"{IPv6Address(int(IPv6Address(place.removesuffix('/64'))) >> 80 << 80)}/48"
