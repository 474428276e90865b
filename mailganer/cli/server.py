"""The web server: waitress, with a fast path for requests that are answered without waiting.

waitress reads in one thread and handles requests in others. That is right for a page, which waits for the
database. For an image of 43 bytes, switching to another thread and back costs more than everything else
together.
"""

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from ipaddress import ip_address
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ThreadedTaskDispatcher, WSGITask

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PER_ADDRESS = 100  # connections of one client; a browser opens six
GRACE = 20.0  # seconds that a request may take to arrive, however slowly
SLOWEST = 500.0  # bytes per second, for a request that takes longer

Begin = Callable[[Any, Callable[[bool], None], Callable[[], None]], bool]
IsPrompt = Callable[[str, str], bool]
Limit = Callable[[object, str, Mapping[str, str]], int]


def make_server(
    application: "WSGIApplication",
    is_prompt: IsPrompt,
    sockets: dict[int, Any],
    limit: Limit | None = None,
    may_begin: IsPrompt | None = None,
    begin: Begin | None = None,
    **options: Any,
) -> Any:
    """Create a server whose ``run`` serves, in the thread that created it, until a signal ends the process.

    ``is_prompt`` returns, by method and path, whether the application responds without waiting: the thread
    that has read such a request also handles it. ``sockets`` and ``options`` are waitress's map and settings.
    ``may_begin`` returns in the same way whether ``begin`` is worth a call: it takes the environ of a request
    and two functions, and returns False, or begins to answer and calls the first function from another thread
    when the application can be called: with True if it then responds without waiting. It calls the second one
    after all that ended together.
    ``limit`` returns, by the request's parser, path and headers, how many bytes of a body are accepted.
    """
    channel = (
        type("Channel", (_Channel,), {"parser_class": staticmethod(partial(_Parser, limit))})
        if limit
        else _Channel
    )
    dispatcher = _Dispatcher(is_prompt, may_begin, begin)
    server = create_server(application, map=sockets, _dispatcher=dispatcher, **options)
    dispatcher.set_thread_count(server.adj.threads)
    for each in sockets.values():
        if isinstance(each, BaseWSGIServer):
            each.channel_class = channel
            each.pull_trigger = _waking(each.pull_trigger, dispatcher.reading_thread)
    return server


def _waking(pull: Callable[[], None], reading_thread: int) -> Callable[[], None]:
    """Return a function that wakes the reading thread, unless called in that thread.

    Its pipe costs as much as a response.
    """

    def wake() -> None:
        if get_ident() != reading_thread:
            pull()

    return wake


def is_client(address: Any, proxy: str | None) -> bool:
    """Return whether a connection comes from a client itself.

    A proxy, in contrast, carries the connections of many clients.
    """
    host = address[0] if isinstance(address, tuple) else ""
    try:
        return proxy != "*" and host != proxy and not ip_address(host).is_loopback
    except ValueError:
        return False


class _Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress has no types
    """Leave prompt requests to the reading thread, which is the one that creates this object."""

    def __init__(self, is_prompt: IsPrompt, may_begin: IsPrompt | None, begin: Begin | None) -> None:
        super().__init__()
        self.reading_thread = get_ident()
        self._is_prompt = is_prompt
        self._may_begin, self._begin = may_begin, begin

    def add_task(self, channel: "_Channel") -> None:
        request = channel.requests[0]
        reading = get_ident() == self.reading_thread
        if reading and not request.error and self._is_prompt(request.command, request.path):
            channel.prompt = True  # handled when it has released the lock that it holds here
        elif not (reading and not request.error and self._begins(channel, request)):
            super().add_task(channel)

    def add_begun(self, channel: "_Channel") -> None:
        """Leave a request that was begun, but is not answered without waiting, to another thread."""
        super().add_task(channel)

    def _begins(self, channel: "_Channel", request: Any) -> bool:
        if not self._may_begin or not self._begin or not self._may_begin(request.command, request.path):
            return False
        request.environ = channel.task_class(channel, request).get_environment()
        return self._begin(request.environ, channel.begun, channel.server.pull_trigger)


class _Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    """The call of the application for a request, with the environ that it was begun with."""

    def get_environment(self) -> dict[str, Any]:
        begun: dict[str, Any] | None = getattr(self.request, "environ", None)
        return super().get_environment() if begun is None else begun


class _Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """A request whose body is rejected by its size before it is read."""

    adj: Any

    def __init__(self, limit: Limit, adj: Any) -> None:
        super().__init__(adj)
        self._limit = limit

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.body_rcv is not None:
            most = self._limit(self, self.path, self.headers)
            self.adj = copy(self.adj)
            self.adj.max_request_body_size = min(self.adj.max_request_body_size, most)


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection. A response made in the reading thread is sent in one piece and wakes no other thread.

    One client cannot use up all connections: it has at most ``PER_ADDRESS``, and one whose request arrives
    more slowly than ``SLOWEST`` is closed.
    """

    task_class = _Task
    prompt = False  # whether the next request is to be handled at once
    ready = False  # whether the reading thread is to handle a request that was begun
    _arriving: "HTTPRequestParser | None" = None  # the request that is not complete yet
    _since, _bytes = 0.0, 0  # when it began, and how many bytes have arrived

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
        super().__init__(server, sock, addr, adj, map=map)
        if is_client(addr, adj.trusted_proxy):
            same = sum(each.addr[0] == addr[0] for each in server.active_channels.values())
            self.will_close = same > PER_ADDRESS

    def received(self, data: bytes) -> bool:
        taken: bool = super().received(data)
        self._close_when_slow(len(data))
        if self.prompt:
            self._service_prompt()
            self.handle_write()
        return taken

    def begun(self, prompt: bool) -> None:
        """Continue with a request that was begun; ``prompt``: it is answered without any waiting."""
        if prompt:
            self.ready = True  # the reading thread is woken once for all that became ready
        else:
            self.server.task_dispatcher.add_begun(self)

    def writable(self) -> bool:
        return self.ready or bool(super().writable())

    def handle_write(self) -> None:
        if self.ready:
            self.ready = False
            self.service()
            self._service_prompt()
        super().handle_write()

    def _service_prompt(self) -> None:
        while self.prompt:
            self.prompt = False
            self.service()

    def _close_when_slow(self, received: int) -> None:
        if self.request is None or self.request is not self._arriving:
            self._arriving, self._since, self._bytes = self.request, monotonic(), 0
        self._bytes += received
        taken = monotonic() - self._since
        if self.request is not None and taken > GRACE and self._bytes < taken * SLOWEST:
            self.will_close = True

    def write_soon(self, data: bytes) -> int:
        if not self._is_reading():
            return int(super().write_soon(data))
        with self.outbuf_lock:
            self.outbufs[-1].append(data)
            self.current_outbuf_count += len(data)
            self.total_outbufs_len += len(data)
        return len(data)

    def _is_reading(self) -> bool:
        return bool(get_ident() == self.server.task_dispatcher.reading_thread)
