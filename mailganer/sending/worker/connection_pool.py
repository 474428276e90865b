"""Connection pool of a lane: opened on demand, kept between windows, closed at the end of the turn."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from time import perf_counter, thread_time

from ...backends import Backend, Connection, Message, Outcome, Receipt, Scope, clean
from ...errors import MailganerError
from .window_queue import WindowQueue

log = logging.getLogger(__name__)

ENOUGH = 8  # emails per connection, below which the measured time means nothing
BUSY = 0.7  # share of the time: threads with more CPU time than this only block each other
IDLE = 0.4  # share of the time: below it, another connection's emails fit in between


class ConnectionPool:
    """Up to ``size`` connections of one sender. Windows of one email use only the first.

    More connections help against distance and slow servers, not against our own CPU time: their threads share
    one interpreter. So the pool uses as many as have something to wait for.
    """

    def __init__(self, backend: Backend, size: int) -> None:
        self.size = max(1, size)
        self._in_use = self.size  # how many connections send; adapted to how much they wait
        self._backend = backend
        self._connections: list[Connection | None] = [None] * self.size
        self._threads: ThreadPoolExecutor | None = None

    def send(self, window_queue: WindowQueue, emails: int) -> None:
        """Send a window; return when every email that was taken from it has a receipt."""
        connections = min(self._in_use, self.size, emails)
        begun = perf_counter()
        if connections == 1:
            computed = self._work(0, window_queue)
        else:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.size - 1, thread_name_prefix="connection")
            others = [
                self._threads.submit(self._work, number, window_queue) for number in range(1, connections)
            ]
            computed = self._work(0, window_queue)
            wait(others)
            computed += sum(other.result() for other in others)
        if emails >= connections * ENOUGH:
            self._adapt(connections, computed / (perf_counter() - begun))

    def _adapt(self, connections: int, busy: float) -> None:
        """Use fewer connections when their threads are ``busy``, a share of the time, and more when idle."""
        if busy > BUSY:
            self._in_use = max(1, connections // 2)
        elif busy < IDLE:
            self._in_use = min(self.size, connections * 2)

    def close(self) -> None:
        """Close all connections. Never raises, whatever a backend does."""
        for number, connection in enumerate(self._connections):
            self._connections[number] = None
            if connection is not None:
                _end(connection.close)
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def _work(self, number: int, window_queue: WindowQueue) -> float:
        """Send over one connection; return the seconds of CPU time used."""
        begun = thread_time()
        self._send_over_connection(number, window_queue)
        return thread_time() - begun

    def _send_over_connection(self, number: int, window_queue: WindowQueue) -> None:
        if window_queue.exhausted:
            return
        connection = self._connections[number]
        if connection is None:
            try:
                connection = self._connections[number] = self._backend.connect()
            except Exception as error:  # a third-party backend may raise anything
                if number == 0:
                    window_queue.stop(error)
                else:  # the server allows no more connections at once; continue with those that are open
                    self.size = min(self.size, number)
                    log.info("%s connections are enough: %r", number, error)
                return
        self._send_messages(number, connection, window_queue)

    def _send_messages(self, number: int, connection: Connection, window_queue: WindowQueue) -> None:
        pulled: list[int | str] = []

        def messages() -> Iterator[Message]:
            for message in window_queue.messages():
                pulled.append(message.id)
                yield message

        answered = 0
        try:
            for receipt in connection.send_many(messages()):
                window_queue.answer(receipt)
                answered += 1
        except Exception as error:  # a third-party backend failed: what it had taken may have gone out
            window_queue.stop(error)
            self._connections[number] = None
            _end(connection.abort)
        else:
            if answered < len(pulled):
                window_queue.stop(RuntimeError("the backend gave fewer receipts than it took messages"))
                self._connections[number] = None
                _end(connection.abort)
        for message_id in pulled[answered:]:
            reply = clean(_message_of(window_queue.error))
            window_queue.answer(Receipt(message_id, Outcome.in_doubt, reply, None, Scope.connection))


def _message_of(error: Exception | None) -> str:
    return error.message if isinstance(error, MailganerError) else str(error or "")


def _end(connection: Callable[[], None]) -> None:
    try:
        connection()
    except Exception:
        log.exception("a connection could not be ended")
