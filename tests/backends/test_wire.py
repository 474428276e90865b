"""Lines, limits and timeouts of a single socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from mailganer.backends import clean
from mailganer.backends.wire import ConnectionClosed, InvalidReply, ReplyTimeout, Wire
from tests.support.pace import within


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield Wire(ours, float("inf")), theirs
    ours.close()
    theirs.close()


def test_answers_of_one_and_of_many_lines(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair
    server.sendall(
        b"250 2.0.0 Ok\r\n250-one\r\n250-two\n250 three\r\n550-5.1.1 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n"
    )
    assert wire.reply(1).text == "250 2.0.0 Ok"
    assert wire.reply(1).text == "250 one two three"
    last = wire.reply(1)
    assert (last.code, last.text, last.enhanced) == (550, "550 5.1.1 a b c", (5, 1, 1))


def test_an_answer_in_pieces_is_one_answer(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair
    for piece in (b"2", b"50 ", b"ok", b"\r"):
        server.sendall(piece)
        with pytest.raises(ReplyTimeout):
            wire.reply(0.02)
    server.sendall(b"\n")
    assert wire.reply(1).text == "250 ok"


@pytest.mark.parametrize(
    "data",
    [
        b"250-a\r\n550 b\r\n",
        b"25\r\n",
        b"abc\r\n",
        b"\xff\xfe\xfd\r\n",
        b"650 x\r\n",
        b"150 x\r\n",
        b"250x\r\n",
    ],
)
def test_what_is_no_answer(pair: tuple[Wire, socket.socket], data: bytes) -> None:
    wire, server = pair
    server.sendall(data)
    with pytest.raises(InvalidReply):
        wire.reply(1)


def test_a_line_without_end_is_not_kept(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair
    server.sendall(b"250 " + b"x" * 20_000)
    with pytest.raises(InvalidReply):
        wire.reply(1)


def test_an_answer_without_end_is_not_kept(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair
    server.sendall((b"250-" + b"x" * 1000 + b"\r\n") * 80)
    with pytest.raises(InvalidReply):
        wire.reply(1)


def test_silence_ends_the_wait(pair: tuple[Wire, socket.socket]) -> None:
    wire, _server = pair
    began = time.monotonic()
    with pytest.raises(ReplyTimeout):
        wire.reply(0.1)
    assert 0.05 < time.monotonic() - began < within(0.5)


def test_the_bound_over_all_stages_comes_before_the_stages_own(pair: tuple[Wire, socket.socket]) -> None:
    wire, _server = pair
    wire.until = time.monotonic() + 0.1
    began = time.monotonic()
    with pytest.raises(ReplyTimeout):
        wire.reply(60)
    assert time.monotonic() - began < within(0.5)


def test_a_server_that_does_not_read_does_not_block_us(pair: tuple[Wire, socket.socket]) -> None:
    wire, _server = pair
    with pytest.raises(ReplyTimeout):
        wire.write(b"x" * 2_000_000, -480)  # minus the time allowed for a slow peer
    assert 0 < wire.sent < 2_000_000
    assert wire.maybe_sent == wire.sent


def test_an_end_is_an_end(pair: tuple[Wire, socket.socket]) -> None:
    wire, server = pair
    server.close()
    with pytest.raises(ConnectionClosed):
        wire.reply(1)
    assert wire.ends(1)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a\r\nb\tc", "a b c"),
        (b"\x1b[31mred\x00", "[31mred"),
        (b"caf\xe9", "caf\ufffd"),
        ("\u202eevil", "evil"),
        ("x" * 900, "x" * 500),
        ("<b>Привет</b>", "<b>Привет</b>"),
    ],
)
def test_words_are_kept_printable_and_short(said: str | bytes, kept: str) -> None:
    assert clean(said) == kept
