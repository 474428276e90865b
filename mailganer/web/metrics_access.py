"""Access to ``/metrics``: by the operator's token, or from private networks."""

import hmac
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from pyramid.request import Request

from ..settings import Settings
from .rate_limits import RateLimiter

PRIVATE: tuple[IPv4Network | IPv6Network, ...] = tuple(
    map(
        ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10"),
    )
)


def may_read_metrics(request: Request) -> bool:
    """Return whether this request may read the metrics. Raise ``Throttled`` after too many wrong tokens."""
    settings: Settings = request.registry["settings"]
    kind, _space, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        if settings.metrics_token and hmac.compare_digest(token.encode(), settings.metrics_token.encode()):
            return True
        throttle: RateLimiter = request.registry["throttle"]
        throttle.check_token(request.remote_addr)
    return is_from_private_network(request.remote_addr, settings)


def is_from_private_network(address: str | None, settings: Settings) -> bool:
    """Return whether the client is known to be in a private network.

    Behind a reverse proxy that is not named in the settings, every client has the proxy's address. So a
    private address counts when one proxy is named and the address is not its own, or when the public address
    is local: then there are no clients from elsewhere.
    """
    if not is_private(address):
        return False
    proxy = settings.trusted_proxy
    if proxy:
        return proxy != "*" and address != proxy
    return settings.host == "localhost" or is_private(urlsplit(settings.public_url).hostname)


def is_private(address: str | None) -> bool:
    """Return whether an address belongs to a private network or to this machine."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in PRIVATE if network.version == parsed.version)
