"""Which hosts may be reached, and a socket to exactly the address that was checked.

The name of a mail server is untrusted input. It is resolved once, every address is checked, and the
connection goes to a checked address: a second answer of the name server (DNS rebinding) is never requested.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from ..errors import BackendError, HostForbidden, Unreachable, _
from .addresses import normalise_host
from .network import Network
from .special_networks import is_special

# Prefixes whose addresses contain an IPv4 address, which is the one that is reached (RFC 6052, RFC 3056).
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a host that may be reached."""

    family: int
    sockaddr: tuple[Any, ...]
    private: bool


def find_endpoints(host: str, port: int, network: Network, seconds: float) -> list[Endpoint]:
    """Return every address of a host, each of them allowed. Raises ``HostForbidden`` or ``Unreachable``."""
    name = normalise_host(host).strip("[]")
    found: dict[tuple[Any, ...], Endpoint] = {}
    for family, _kind, _protocol, _canonical, sockaddr in _resolve(name, port, seconds):
        private = _is_private(str(sockaddr[0]), name, network)
        if not private and port not in network.ports:
            raise _port_forbidden(port, network)
        found[sockaddr] = Endpoint(family, sockaddr, private)
    return list(found.values())


def open_socket(host: str, port: int, network: Network) -> tuple[socket.socket, bool]:
    """Return a connected socket and whether its other end is a private host.

    All addresses together get ``network.timeouts.connect`` seconds.
    """
    until = min(time.monotonic() + network.timeouts.connect, network.until)
    endpoints = find_endpoints(host, port, network, max(0.0, until - time.monotonic()))
    problem: OSError = TimeoutError()
    for place, endpoint in enumerate(endpoints):
        left = (until - time.monotonic()) / (len(endpoints) - place)
        if left <= 0:
            break
        try:
            return _connect(endpoint, left), endpoint.private
        except OSError as error:
            problem = error
    raise _unreachable(host, port, problem)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is on the public internet, whatever prefix it is wrapped in."""
    inner = _embedded_ipv4(address)
    if inner is not None:
        return is_public(inner)
    return not is_special(address)


def _embedded_ipv4(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _is_private(text: str, name: str, network: Network) -> bool:
    """Return True for a private address that the operator allows, False for a public one.

    Raises ``HostForbidden`` for any other.
    """
    address = ip_address(text.partition("%")[0])
    if is_public(address):
        return False
    inner = _embedded_ipv4(address) or address
    reachable = not (inner.is_multicast or inner.is_link_local or inner.is_unspecified or inner.is_reserved)
    if network.allow_private and reachable:
        return True
    raise HostForbidden(
        _(
            "Mailganer does not connect to ${host} because it is not a public mail server. Enter "
            "the SMTP server of your mail provider.",
            mapping={"host": name},
        )
    )


def _port_forbidden(port: int, network: Network) -> BackendError:
    return HostForbidden(
        _(
            "Mailganer does not connect to port ${port}. Use one of: ${ports}.",
            mapping={"port": port, "ports": ", ".join(map(str, sorted(network.ports)))},
        ),
        field="port",
    )


def _unreachable(host: str, port: int, problem: OSError) -> BackendError:
    if isinstance(problem, TimeoutError):
        sentence = _(
            "${host} does not respond on port ${port}. Check the server and the port, or try again later."
        )
    elif isinstance(problem, ConnectionRefusedError):
        sentence = _("${host} refuses connections on port ${port}. Check the server and the port.")
    else:
        sentence = _(
            "Cannot connect to ${host}, port ${port}: ${problem}. Check the server and the port, "
            "or try again later."
        )
    words = problem.strerror or str(problem)
    return Unreachable(sentence % {"host": host, "port": port, "problem": words})


def _connect(endpoint: Endpoint, seconds: float) -> socket.socket:
    sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(endpoint.sockaddr)
        # Commands are written in whole groups; waiting to fill a segment would only cost a round trip.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(name: str, port: int, seconds: float) -> list[Any]:
    """Call ``getaddrinfo`` with a deadline. It has none itself, so its thread may be abandoned."""
    answers: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        answer = TimeoutError()
    if isinstance(answer, list):
        return answer
    raise _unresolved(name, answer)


def _unresolved(name: str, error: BaseException) -> BackendError:
    unknown = getattr(socket, "EAI_NODATA", socket.EAI_NONAME)
    if isinstance(error, UnicodeError) or getattr(error, "errno", None) in (socket.EAI_NONAME, unknown):
        return Unreachable(_("The server ${host} was not found. Check its spelling.", mapping={"host": name}))
    return Unreachable(
        _("The DNS lookup of ${host} failed. Try again later.", mapping={"host": name}),
    )
