"""Allowed addresses, and that the checked address is the one connected to."""

from __future__ import annotations

import ipaddress
import socket
import time
from ipaddress import ip_address
from typing import Any

import pytest

from mailganer.backends import HostForbidden, InputError, Network, Timeouts, Unreachable, normalise_host
from mailganer.backends.hosts import find_endpoints, is_public, open_socket
from mailganer.backends.special_networks import IPV4, IPV6

from ..support.pace import within
from ..support.ports import free_port

PRIVATE = """\
    127.0.0.1 127.8.9.1 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255
    169.254.169.254 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
    240.0.0.1 255.255.255.255
    :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1
    64:ff9b:1::7f00:1 fe80::1 fc00::1 fd00::1 fec0::1 ff02::1 2002:7f00:1:: 2002:a00:1:: 2001:db8::1 100::1
    2001:0:4136:e378:8000:63bf:80ff:fffe
    192.0.0.8 192.0.0.9 192.0.0.170 192.0.0.255 192.31.196.1 192.52.193.1 192.88.99.1 192.88.99.2 192.175.48.1
    198.19.255.255 100::1:0:0:1 100:0:0:1::1 2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:20::1
    2001:30::1 2001:1ff:ffff::1 2620:4f:8000::1 3fff::1 3fff:fff:ffff::1 5f00::1 200::1 4000::1 fe00::1
    ff0e::1 ::ffff:192.88.99.1 64:ff9b::c058:6301 2002:c058:6301::1
"""
PUBLIC = """\
    8.8.8.8 1.1.1.1 93.184.216.34 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1
    1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.32.0.0 192.0.1.1 192.0.3.1 192.88.98.1
    192.88.100.1 198.17.255.255 198.20.0.0 223.255.255.255 2001:200::1 2001:db7::1 2003::1 2620:4f:8001::1
    3ffe::1 2a00:1450::1
"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_an_address_of_someones_own_network_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC.split())
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


def test_the_table_has_every_network_that_python_calls_private() -> None:
    """In any version: a newer Python may know an entry that the table lacks."""
    for constants, known in ((ipaddress._IPv4Constants, IPV4), (ipaddress._IPv6Constants, IPV6)):
        for network in constants._private_networks:
            assert any(network.subnet_of(each) for each in known), network


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Responses of the name server: one address per query."""
    asked: list[str] = []

    def ask(name: str, port: int, **_how: Any) -> list[Any]:
        asked.append(name)
        found = addresses[min(len(asked), len(addresses)) - 1].split()
        kinds = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in found]
        return [
            (kind, socket.SOCK_STREAM, 6, "", (one, port)) for kind, one in zip(kinds, found, strict=True)
        ]

    monkeypatch.setattr("mailganer.backends.hosts.socket.getaddrinfo", ask)
    return asked


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "8.8.8.8 10.0.0.1")
    with pytest.raises(HostForbidden):
        find_endpoints("mail.example.com", 587, Network(), 1)


def test_a_name_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a second query would return another address. There is none."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    monkeypatch.setattr("mailganer.backends.hosts.is_public", lambda _address: True)
    asked = answers(monkeypatch, "127.0.0.1", "10.255.255.1")
    sock, private = open_socket("mail.example.com", port, Network(ports=frozenset({port})))
    assert sock.getpeername() == ("127.0.0.1", port)
    assert not private
    assert asked == ["mail.example.com"]
    sock.close()
    listener.close()


def test_a_public_host_is_reached_at_mail_ports_only(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "8.8.8.8")
    for port in (22, 80, 443, 993, 5432, 6379):
        with pytest.raises(HostForbidden):
            find_endpoints("mail.example.com", port, Network(allow_private=True), 1)
    for port in (25, 465, 587, 2525):
        assert find_endpoints("mail.example.com", port, Network(), 1)[0].sockaddr == ("8.8.8.8", port)


@pytest.mark.parametrize("address", ["169.254.169.254", "224.0.0.1", "0.0.0.0", "255.255.255.255", "fe80::1"])
def test_even_in_development_some_addresses_are_no_mail_server(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    answers(monkeypatch, address)
    with pytest.raises(HostForbidden):
        find_endpoints("mail.example.com", 25, Network(allow_private=True), 1)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "was not found"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), "Try again later"),
        (socket.gaierror(socket.EAI_FAIL, "broken"), "Try again later"),
    ],
)
def test_a_name_server_without_an_answer(monkeypatch: pytest.MonkeyPatch, error: OSError, words: str) -> None:
    def fail(*_arguments: Any, **_how: Any) -> None:
        raise error

    monkeypatch.setattr("mailganer.backends.hosts.socket.getaddrinfo", fail)
    with pytest.raises(Unreachable, match=words):
        find_endpoints("mail.example.com", 587, Network(), 1)


def test_a_name_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mailganer.backends.hosts.socket.getaddrinfo", lambda *_arguments, **_how: time.sleep(1.5)
    )
    began = time.monotonic()
    with pytest.raises(Unreachable):
        find_endpoints("mail.example.com", 587, Network(), 0.2)
    assert time.monotonic() - began < within(1)


def test_all_addresses_together_get_the_time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full backlog on loopback drops connections silently, as a firewall does."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    fillers = [socket.socket() for _number in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    answers(monkeypatch, "127.0.0.1 127.0.0.2")
    began = time.monotonic()
    with pytest.raises(Unreachable):
        open_socket("mail.example.com", port, Network(allow_private=True, timeouts=Timeouts(connect=0.6)))
    assert time.monotonic() - began < within(1.5)
    for sock in (*fillers, listener):
        sock.close()


def test_a_closed_port_is_said_in_words_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "127.0.0.1")
    port = free_port()
    with pytest.raises(Unreachable) as caught:
        open_socket("mail.example.com", port, Network(allow_private=True))
    assert str(caught.value) == (
        f"mail.example.com refuses connections on port {port}. Check the server and the port."
    )


def test_the_next_address_is_tried_when_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    answers(monkeypatch, "127.0.0.3 127.0.0.1")
    sock, private = open_socket("mail.example.com", port, Network(allow_private=True))
    assert sock.getpeername()[0] == "127.0.0.1"
    assert private
    sock.close()
    listener.close()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (" SMTP.Example.COM. ", "smtp.example.com"),
        ("почта.рф", "xn--80a1acny.xn--p1ai"),
        ("[::1]", "[::1]"),
        ("mx_1.example.com", "mx_1.example.com"),
    ],
)
def test_a_host_name_is_written_in_one_way(written: str, meant: str) -> None:
    assert normalise_host(written) == meant


@pytest.mark.parametrize(
    "written", ["", " ", "a b", "http://x", "x/y", "a\r\nb", "x" * 300, "user@host", "\u2024"]
)
def test_what_is_no_host_name_is_said_to_be_none(written: str) -> None:
    with pytest.raises(InputError):
        normalise_host(written)
