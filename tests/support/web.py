"""The application behind a real web server, in a thread of the test process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from waitress import wasyncore
from waitress.server import create_server


@contextmanager
def served(app: Any, port: int, threads: int = 4) -> Iterator[str]:
    """Serve at the yielded address until the block ends; open browser connections do not delay the end."""
    sockets: dict[int, Any] = {}
    server = create_server(app, host="127.0.0.1", port=port, threads=threads, map=sockets)
    ended = threading.Event()
    thread = threading.Thread(target=_serve, args=(sockets, ended.is_set), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        ended.set()
        thread.join(10)
        server.task_dispatcher.shutdown()
        wasyncore.close_all(sockets)


def _serve(sockets: dict[int, Any], ended: Callable[[], bool]) -> None:
    while not ended():
        wasyncore.loop(timeout=0.1, map=sockets, count=1)
