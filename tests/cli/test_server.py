"""The web server's fast path, over real sockets: which thread responds, and in which order."""

import socket
import threading
from contextlib import ExitStack, suppress
from threading import current_thread
from time import sleep

import pytest
from waitress import wasyncore

from mailganer.cli import server as server_module
from mailganer.cli.server import make_server
from tests.support.ports import free_port


@pytest.fixture
def port():
    """A server that responds with the name of its thread; all but /page is prompt."""
    number, ready, ended = free_port(), threading.Event(), threading.Event()

    def serve():
        sockets = {}
        server = make_server(
            application,
            lambda _method, path: path != "/page",
            sockets,
            listen=f"127.0.0.1:{number}",
            threads=2,
        )
        ready.set()
        while not ended.is_set():
            wasyncore.loop(timeout=0.1, map=sockets, count=1)
        server.task_dispatcher.shutdown()
        wasyncore.close_all(sockets)

    thread = threading.Thread(target=serve, name="reader")
    thread.start()
    assert ready.wait(10)
    yield number
    ended.set()
    thread.join(10)


def application(environ, start_response):
    if environ["PATH_INFO"].endswith("broken"):
        raise RuntimeError("broken")
    body = f"[{environ['PATH_INFO']} by {current_thread().name.partition('-')[0]}]".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body] if environ["REQUEST_METHOD"] != "HEAD" else []


def asked(line, *requests, last="]"):
    """Read until ``last`` has come once per request."""
    line.sendall("".join(f"{each} HTTP/1.1\r\nHost: x\r\n\r\n" for each in requests).encode())
    answer = ""
    while answer.count(last) < len(requests):
        piece = line.recv(65536)
        assert piece, answer
        answer += piece.decode()
    return answer


@pytest.fixture
def line(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        yield line


def test_what_is_prompt_is_answered_by_who_has_read_it_and_all_else_by_others(line):
    assert "[/p1 by reader]" in asked(line, "GET /p1")
    assert "[/page by waitress]" in asked(line, "GET /page")
    assert "[/p2 by reader]" in asked(line, "GET /p2")


def test_what_comes_in_one_piece_is_answered_in_its_order(line):
    paths = ["/p1", "/p2", "/page", "/p3", "/page", "/page", "/p4"]
    answer = asked(line, *(f"GET {path}" for path in paths))
    assert [part.split(" by ")[0] for part in answer.split("[")[1:]] == paths
    assert "[/p5 by reader]" in asked(line, "GET /p5")


def test_hundreds_of_prompt_requests_that_no_one_waits_for_are_all_answered(line):
    paths = [f"/p{number}" for number in range(500)]
    answer = asked(line, *(f"GET {path}" for path in paths))
    assert [part.split(" by ")[0] for part in answer.split("[")[1:]] == paths


def test_a_head_is_answered_without_a_body(line):
    answer = asked(line, "HEAD /p1", last="\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 OK")
    assert "[" not in answer


def test_a_prompt_answer_that_fails_is_a_500_and_the_server_continues(port, line):
    assert "HTTP/1.1 500" in asked(line, "GET /p/broken", last="500 Internal")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as other:
        assert "[/p1 by reader]" in asked(other, "GET /p1")


def is_hung_up_on(line):
    """Return whether the server has closed a connection, by FIN or RST."""
    try:
        return line.recv(65536) == b""
    except ConnectionError:
        return True


def test_one_client_has_so_many_connections_and_another_is_answered(port, line, monkeypatch):
    monkeypatch.setattr(server_module, "PER_ADDRESS", 2)
    monkeypatch.setattr(server_module, "is_client", lambda address, _proxy: address[0] != "127.0.0.9")
    with ExitStack() as kept:

        def connect(source="127.0.0.1"):
            return kept.enter_context(socket.create_connection(("127.0.0.1", port), 10, (source, 0)))

        assert "[/p1 by reader]" in asked(line, "GET /p1")
        assert "[/p2 by reader]" in asked(connect(), "GET /p2")
        assert is_hung_up_on(connect())
        assert "[/p3 by reader]" in asked(connect("127.0.0.9"), "GET /p3")


SLOW = (b"GET /p1 HTTP/1.1\r\nX: ", b"POST /p1 HTTP/1.1\r\nContent-Length: 9000\r\n\r\n")


@pytest.mark.parametrize("start", SLOW, ids=["headers", "body"])
def test_a_request_that_comes_byte_by_byte_is_hung_up_on(port, monkeypatch, start):
    monkeypatch.setattr(server_module, "GRACE", 0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(start)
        for _byte in range(20):
            with suppress(ConnectionError):
                slow.sendall(b"x")
            sleep(0.02)
        assert is_hung_up_on(slow)


def test_a_large_body_that_comes_fast_is_read(line, monkeypatch):
    monkeypatch.setattr(server_module, "GRACE", 0.0)
    line.sendall(b"POST /p1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
    assert b"[/p1" in line.recv(65536)


@pytest.mark.parametrize(
    ("address", "proxy", "is_client"),
    [
        (("192.0.2.1", 5), None, True),
        (("192.0.2.1", 5), "192.0.2.2", True),
        (("192.0.2.1", 5), "192.0.2.1", False),
        (("192.0.2.1", 5), "*", False),
        (("127.0.0.1", 5), None, False),
        (("2001:db8::1", 5, 0, 0), None, True),
        ("", None, False),
    ],
)
def test_a_proxy_brings_the_connections_of_many(address, proxy, is_client):
    assert server_module.is_client(address, proxy) is is_client


def test_who_asks_to_close_is_hung_up_on_after_the_answer(line):
    line.sendall(b"GET /p1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.endswith(b"[/p1 by reader]")
