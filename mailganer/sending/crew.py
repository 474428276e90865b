"""The open connections of a lane: opened when first needed, kept from window to window, closed at its end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

from ..backends import Backend, Connection, Message, Outcome, Receipt, Scope, clean
from ..errors import BackendError
from .feed import Feed


class Crew:
    """Up to ``size`` connections of one sender. Only the first is used for windows of one letter."""

    def __init__(self, backend: Backend, size: int) -> None:
        self.size = max(1, size)
        self._backend = backend
        self._connections: list[Connection | None] = [None] * self.size
        self._threads: ThreadPoolExecutor | None = None

    def send(self, feed: Feed, letters: int) -> None:
        """Hands a window over; returns when whatever was pulled is answered."""
        hands = min(self.size, letters)
        if hands == 1:
            self._work(0, feed)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.size - 1, thread_name_prefix="connection")
        others = [self._threads.submit(self._work, hand, feed) for hand in range(1, hands)]
        self._work(0, feed)
        wait(others)
        for other in others:
            other.result()

    def close(self) -> None:
        for hand, connection in enumerate(self._connections):
            if connection is not None:
                connection.close()
                self._connections[hand] = None
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def _work(self, hand: int, feed: Feed) -> None:
        if feed.exhausted:
            return
        connection = self._connections[hand]
        if connection is None:
            try:
                connection = self._connections[hand] = self._backend.connect()
            except BackendError as error:
                if hand == 0:
                    feed.stop(error)
                else:  # so many at once the server does not want: those that are open go on
                    self.size = min(self.size, hand)
                return
        self._carry(hand, connection, feed)

    def _carry(self, hand: int, connection: Connection, feed: Feed) -> None:
        pulled: list[int | str] = []

        def messages() -> Iterator[Message]:
            for message in feed.messages():
                pulled.append(message.id)
                yield message

        answered = 0
        try:
            for receipt in connection.send_many(messages()):
                feed.answer(receipt)
                answered += 1
        except Exception as error:  # a backend of somebody else's: what it had pulled may have gone out
            feed.stop(error)
            self._connections[hand] = None
            connection.abort()
        else:
            if answered < len(pulled):
                feed.stop(RuntimeError("the backend gave fewer receipts than it took messages"))
                self._connections[hand] = None
                connection.abort()
        for message_id in pulled[answered:]:
            reply = clean(str(feed.error or ""))
            feed.answer(Receipt(message_id, Outcome.in_doubt, reply, None, Scope.connection))
