"""Blocks all connections from tests to other machines."""

import ipaddress
import socket
from typing import Any

_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


class OutsideWorld(BaseException):
    """A connection to another machine. A ``BaseException``, so that the code under test cannot handle it."""


def close() -> None:
    """Allow connections to loopback addresses only, and resolve only ``localhost``."""
    socket.socket.connect = _guarded(_connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = _guarded(_connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = _lookup


def _guarded(original: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _local(address[0]):
            raise OutsideWorld(f"a test tried to connect to {address}")
        return original(self, address)

    return connect


def _lookup(host: Any, *arguments: Any, **options: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name and not _number(name) and name != "localhost":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _getaddrinfo(host, *arguments, **options)


def _number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _local(host: str) -> bool:
    return host in {"localhost", ""} or (_number(host) and ipaddress.ip_address(host).is_loopback)
