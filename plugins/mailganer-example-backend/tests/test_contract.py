"""The example keeps the contract of Mailganer, against a small service of its own."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mailganer.backends import Network, Outcome, Scope
from mailganer.backends.testing import BackendContract

from mailganer_example_backend import ExampleBackend, ExampleSettings

KEY = "Canary-Key-4711"


class Service(ThreadingHTTPServer):
    """Takes letters from whoever has the key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.letters: list[bytes] = []
        self.answers: dict[str, int] = {}  # recipient -> status instead of 202
        self.vanish = False  # take the letter and say nothing

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_GET(self) -> None:
        if not self._known():
            return
        if self.path.startswith("/messages/"):
            wanted = self.path.rpartition("/")[2].replace("%40", "@").encode()
            held = any(
                re.search(rb"Message-ID: <" + re.escape(wanted) + rb">", one) for one in self.server.letters
            )
            self._answer(200 if held else 404)
        else:
            self._answer(200)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._known():
            return
        status = self.server.answers.get(self.headers["X-Recipient"], 202)
        if status == 202:
            self.server.letters.append(content)
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
        if status == 429:
            self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    threading.Thread(target=service.serve_forever, args=(0.05,), daemon=True).start()
    yield service
    service.shutdown()
    service.server_close()


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
        return lambda: list(service.letters)

    @pytest.fixture
    def accepted_id(self, backend: ExampleBackend) -> str:
        with backend.connect() as connection:
            connection.send(self.letter(backend, "kept"))
        return "<letter-kept@contract.example>"

    @pytest.mark.parametrize(
        ("status", "outcome", "scope", "retry_after"),
        [
            (422, Outcome.refused, Scope.recipient, None),
            (413, Outcome.refused, Scope.message, None),
            (429, Outcome.exhausted, Scope.account, 3600),
            (401, Outcome.unauthorised, Scope.account, None),
            (500, Outcome.deferred, Scope.connection, None),
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
            receipt = connection.send(self.letter(backend, 1))
        assert (receipt.outcome, receipt.scope, receipt.retry_after) == (outcome, scope, retry_after)

    def test_a_letter_taken_without_an_answer_is_in_doubt_and_can_be_looked_up(
        self, backend: ExampleBackend, service: Service
    ) -> None:
        service.vanish = True
        with backend.connect() as connection:
            assert connection.send(self.letter(backend, 1)).outcome is Outcome.in_doubt
        service.vanish = False
        assert backend.was_accepted("<letter-1@contract.example>") is True
