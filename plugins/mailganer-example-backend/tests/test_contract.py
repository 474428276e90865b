"""The example passes the contract tests of Mailganer, against a small service of its own."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mailganer.backends import LoginRefused, Message, Network, Outcome, Scope, TooFast, Unreachable
from mailganer.backends.testing import BackendContract

from mailganer_example_backend import ExampleBackend, ExampleSettings

KEY = "Canary-Key-4711"


class Service(ThreadingHTTPServer):
    """Accepts emails sent with the right key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.emails: list[bytes] = []
        self.answers: dict[str, int] = {}  # recipient -> status instead of 202
        self.vanish = False  # accept the email and send no answer
        self.keeps = False  # accept the email, whatever is answered
        self.questions = 200  # the status of every GET
        self.wait = "3600"  # Retry-After

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_GET(self) -> None:
        if not self._known():
            return
        if self.server.questions != 200:
            self._answer(self.server.questions)
        elif self.path.startswith("/messages/"):
            wanted = self.path.rpartition("/")[2].replace("%40", "@").encode()
            held = any(
                re.search(rb"Message-ID: <" + re.escape(wanted) + rb">", one) for one in self.server.emails
            )
            self._answer(200 if held else 404)
        else:
            self._answer(200)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._known():
            return
        status = self.server.answers.get(self.headers["X-Recipient"], 202)
        if status == 202 or self.server.keeps:
            self.server.emails.append(content)
        if self.server.vanish:
            self.close_connection = True
            return
        self._answer(status)

    def _known(self) -> bool:
        known = self.headers["Authorization"] == f"Bearer {KEY}"
        if not known:
            self._answer(401)
        return known

    def _answer(self, status: int) -> None:
        body = json.dumps({"status": status}).encode()
        self.send_response(status)
        if status in (429, 503):
            self.send_header("Retry-After", self.server.wait)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Write nothing to the terminal."""


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True).start()
    yield service
    service.shutdown()
    service.server_close()


def _hang_up_in_the_middle(listener: socket.socket) -> None:
    sock, _address = listener.accept()
    with sock:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        sock.recv(65536)


def account(service: Service, key: str) -> ExampleBackend:
    settings = ExampleSettings.model_validate({"key": key})
    return ExampleBackend("anna@mail.example", settings, Network(), {"url": service.url})


class TestExample(BackendContract):
    pulls_ahead = 1

    @pytest.fixture
    def backend(self, service: Service) -> ExampleBackend:
        return account(service, KEY)

    @pytest.fixture
    def refusing_backend(self, service: Service) -> ExampleBackend:
        return account(service, "Another-Canary-0815")

    @pytest.fixture
    def delivered(self, service: Service) -> Callable[[], list[bytes]]:
        return lambda: list(service.emails)

    @pytest.fixture
    def accepted_id(self, backend: ExampleBackend) -> str:
        with backend.connect() as connection:
            connection.send(self.email(backend, "kept"))
        return "<letter-kept@contract.example>"

    @pytest.mark.parametrize(
        ("status", "outcome", "scope", "retry_after"),
        [
            (422, Outcome.refused, Scope.recipient, None),
            (413, Outcome.refused, Scope.message, None),
            (429, Outcome.exhausted, Scope.account, 3600),
            (401, Outcome.unauthorised, Scope.account, None),
            (403, Outcome.unauthorised, Scope.account, None),
            (408, Outcome.deferred, Scope.connection, None),
            (500, Outcome.in_doubt, Scope.connection, None),
            (503, Outcome.in_doubt, Scope.connection, 3600),
        ],
    )
    def test_every_answer_has_its_word(
        self,
        backend: ExampleBackend,
        service: Service,
        status: int,
        outcome: Outcome,
        scope: Scope,
        retry_after: int,
    ) -> None:
        service.answers["reader1@example.com"] = status
        with backend.connect() as connection:
            receipt = connection.send(self.email(backend, 1))
        assert (receipt.outcome, receipt.scope, receipt.retry_after) == (outcome, scope, retry_after)

    def test_an_email_kept_behind_a_500_is_found(self, backend: ExampleBackend, service: Service) -> None:
        service.answers["reader1@example.com"], service.keeps = 500, True
        with backend.connect() as connection:
            assert connection.send(self.email(backend, 1)).outcome is Outcome.in_doubt
        assert backend.was_accepted("<letter-1@contract.example>") is True
        assert backend.was_accepted("<letter-2@contract.example>") is False

    @pytest.mark.parametrize("wait", ["90", "date", "soon", ""])
    def test_a_time_to_wait_may_be_a_date(self, backend: ExampleBackend, service: Service, wait: str) -> None:
        in_a_while = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        service.answers["reader1@example.com"] = 429
        service.wait = in_a_while if wait == "date" else wait
        with backend.connect() as connection:
            found = connection.send(self.email(backend, 1)).retry_after
        assert found is None if wait in ("soon", "") else found is not None and 80 <= found <= 90

    @pytest.mark.parametrize(("status", "error"), [(503, Unreachable), (429, TooFast), (401, LoginRefused)])
    def test_a_service_that_cannot_tell_now_proves_nothing(
        self, backend: ExampleBackend, service: Service, status: int, error: type[Exception]
    ) -> None:
        service.questions = status
        for ask in (
            lambda: backend.was_accepted("<letter-1@contract.example>"),
            backend.verify,
            backend.connect,
        ):
            with pytest.raises(error) as caught:
                ask()
            assert caught.value.retry_after == (None if status == 401 else 3600)

    def test_a_service_that_is_away_proves_nothing(self) -> None:
        with socket.socket() as taken:  # bound, and not listening
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            settings = ExampleSettings.model_validate({"key": KEY})
            backend = ExampleBackend("anna@mail.example", settings, Network(), {"url": url})
            with pytest.raises(Unreachable):
                backend.was_accepted("<letter-1@contract.example>")

    def test_an_email_that_broke_off_in_the_middle_is_no_doubt(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            threading.Thread(target=_hang_up_in_the_middle, args=(listener,), daemon=True).start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            settings = ExampleSettings.model_validate({"key": KEY})
            backend = ExampleBackend("anna@mail.example", settings, Network(), {"url": url})
            with backend.connect() as connection:
                receipt = connection.send(Message(1, "anna@mail.example", "a@example.com", b"x" * 20_000_000))
        assert (receipt.outcome, receipt.scope) == (Outcome.deferred, Scope.connection)

    def test_an_email_taken_without_an_answer_is_in_doubt_and_can_be_looked_up(
        self, backend: ExampleBackend, service: Service
    ) -> None:
        service.vanish = True
        with backend.connect() as connection:
            assert connection.send(self.email(backend, 1)).outcome is Outcome.in_doubt
        service.vanish = False
        assert backend.was_accepted("<letter-1@contract.example>") is True
