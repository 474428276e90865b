"""A proxy in front of a Redis broker that repeats, delays or loses the messages of the queue.

Everything else passes unchanged, so that all parts of a real installation work as usual.
"""

import asyncio
import json
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from random import Random
from threading import Thread
from urllib.parse import urlsplit

from mailganer.broker import QUEUE

from .ports import free_port, wait_until

PIECE = 1 << 16


@dataclass(frozen=True)
class Fate:
    """How often and how late each message reaches the queue."""

    copies: int = 1
    delay: float = 0.0  # seconds
    lost: float = 0.0  # the fraction of all messages


class BrokerProxy:
    """Listens at ``url`` in front of the broker at ``behind``. ``fate`` may be changed at any time."""

    def __init__(self, behind: str, fate: Fate | None = None) -> None:
        self.fate = fate or Fate()
        self.queued = 0  # messages that the installation has put into the queue
        self.delayed = 0  # of them, those that are still delayed
        self._address, self._chance = urlsplit(behind), Random(5)
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._ready, what="the proxy")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        with closing(self._loop):
            server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self._port))
            self._ready = True
            self._loop.run_forever()
            server.close()
            self._loop.run_until_complete(_cancel_all())

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.scheme == "redis+socket":
            return await asyncio.open_unix_connection(self._address.path)
        return await asyncio.open_connection(self._address.hostname, self._address.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, broker = await self._connect()
            back = self._loop.create_task(_copy(answers, writer))
            try:
                while words := await _command(reader):
                    broker.write(_encoded(self._changed(words)))
                    await broker.drain()
            finally:
                back.cancel()
                broker.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client, the broker or this proxy closed the connection
        finally:
            writer.close()

    def _changed(self, words: Sequence[bytes]) -> Sequence[bytes]:
        """Return the command to pass on: one that is answered by a number too."""
        if words[0].upper() != b"LPUSH" or words[1] != QUEUE.encode():
            return words
        self.queued += 1
        if self._chance.random() < self.fate.lost:
            return b"LLEN", words[1]
        copies = [words[2], *(_copied(words[2]) for _each in range(self.fate.copies - 1))]
        push = (*words[:2], *copies)
        if not self.fate.delay:
            return push
        self.delayed += 1
        task = self._loop.create_task(self._push_later(push, self.fate.delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return b"LLEN", words[1]

    async def _push_later(self, push: Sequence[bytes], delay: float) -> None:
        await asyncio.sleep(delay)
        answers, broker = await self._connect()
        broker.write(_encoded(push))
        await answers.readline()
        self.delayed -= 1
        broker.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(PIECE):
        target.write(piece)
        await target.drain()
    target.close()


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    """Read one command; an empty list at the end of the connection."""
    head = await reader.readline()
    words = []
    for _each in range(int(head[1:] or b"0")):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


def _encoded(words: Sequence[bytes]) -> bytes:
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(each), each) for each in words)])


def _copied(message: bytes) -> bytes:
    """Return a copy of a message with its own delivery tag, as the transport gives each."""
    copy = json.loads(message)
    copy["properties"]["delivery_tag"] = str(uuid.uuid4())
    return json.dumps(copy).encode()
