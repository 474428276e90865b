"""The contract suite for every built-in backend, against real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailganer.backends import Connection, Message, Network, Outcome, Receipt, Scope
from mailganer.backends.gmail import GmailBackend, GmailSettings
from mailganer.backends.maildir import MaildirBackend, MaildirSettings
from mailganer.backends.smtp import SMTPBackend, SMTPSettings
from mailganer.backends.testing import BackendContract
from tests.support.pigeon import KEY, LOFTS, PigeonBackend, PigeonSettings
from tests.support.smtp import SMTPServer

from .authority import Authority
from .conftest import PASSWORD
from .faulty import ALL, FaultyServer
from .imap import IMAPServer

SENDER = "anna@example.com"
GMAIL = "anna@gmail.com"


class TestSMTP(BackendContract):
    """Against aiosmtpd, with STARTTLS and a login."""

    @pytest.fixture
    def server(self, authority: Authority) -> Iterator[SMTPServer]:
        server = SMTPServer(passwords={SENDER: PASSWORD}, tls=authority.server())
        yield server
        server.stop()

    def account(self, server: SMTPServer, network: Network, password: str) -> SMTPBackend:
        settings = SMTPSettings.model_validate(
            {"host": "localhost", "port": server.port, "security": "starttls", "password": password}
        )
        return SMTPBackend(SENDER, settings, network)

    @pytest.fixture
    def backend(self, server: SMTPServer, network: Network) -> SMTPBackend:
        return self.account(server, network, PASSWORD)

    @pytest.fixture
    def refusing_backend(self, server: SMTPServer, network: Network) -> SMTPBackend:
        return self.account(server, network, "Another-Canary-77")

    @pytest.fixture
    def delivered(self, server: SMTPServer) -> Callable[[], list[bytes]]:
        return lambda: [email.content for email in server.emails]


class TestDeepSMTP(BackendContract):
    """Against a relay that offers everything, eight emails deep."""

    pulls_ahead = 8

    @pytest.fixture
    def server(self, make_server: Callable[..., FaultyServer]) -> FaultyServer:
        return make_server(features=ALL, passwords={SENDER: PASSWORD})

    @pytest.fixture
    def backend(self, server: FaultyServer, account: Callable[..., SMTPBackend]) -> SMTPBackend:
        return account(server)

    @pytest.fixture
    def refusing_backend(self, server: FaultyServer, account: Callable[..., SMTPBackend]) -> SMTPBackend:
        return account(server, password="Another-Canary-77")

    @pytest.fixture
    def delivered(self, server: FaultyServer) -> Callable[[], list[bytes]]:
        return lambda: [email.content for email in server.emails]


class TestGmail(BackendContract):
    """Against a server that requires an app password, and a mailbox with Sent Mail."""

    pulls_ahead = 1

    @pytest.fixture
    def server(self, make_server: Callable[..., FaultyServer], authority: Authority) -> FaultyServer:
        return make_server(features=ALL, tls=authority.server(), passwords={GMAIL: PASSWORD})

    @pytest.fixture
    def imap(self, authority: Authority) -> Iterator[IMAPServer]:
        folders = {'"[Gmail]/Sent Mail"': (r"\Sent", {"<kept@contract.example>"})}
        server = IMAPServer(authority.server(), {GMAIL: PASSWORD}, folders)
        yield server
        server.stop()

    def account(
        self, server: FaultyServer, imap: IMAPServer, network: Network, password: str
    ) -> GmailBackend:
        options = {"host": "localhost", "port": str(server.port)}
        options |= {"imap_host": "localhost", "imap_port": str(imap.port)}
        return GmailBackend(GMAIL, GmailSettings.model_validate({"password": password}), network, options)

    @pytest.fixture
    def backend(self, server: FaultyServer, imap: IMAPServer, network: Network) -> GmailBackend:
        return self.account(server, imap, network, PASSWORD)

    @pytest.fixture
    def refusing_backend(self, server: FaultyServer, imap: IMAPServer, network: Network) -> GmailBackend:
        return self.account(server, imap, network, "Another-Canary-77")

    @pytest.fixture
    def accepted_id(self) -> str:
        return "<kept@contract.example>"

    @pytest.fixture
    def delivered(self, server: FaultyServer) -> Callable[[], list[bytes]]:
        return lambda: [email.content for email in server.emails]


class TestMaildir(BackendContract):
    """Against a folder."""

    pulls_ahead = 1

    @pytest.fixture
    def backend(self, tmp_path: Path) -> MaildirBackend:
        return MaildirBackend(SENDER, MaildirSettings(), Network(), {"folder": str(tmp_path)})

    @pytest.fixture
    def accepted_id(self, backend: MaildirBackend) -> str:
        with backend.connect() as connection:
            connection.send(self.email(backend, "kept"))
        return "<letter-kept@contract.example>"

    @pytest.fixture
    def delivered(self, backend: MaildirBackend) -> Callable[[], list[bytes]]:
        def read() -> list[bytes]:
            new = backend.folder / "new"
            return [file.read_bytes() for file in sorted(new.iterdir())] if new.is_dir() else []

        return read


class TestPigeon(BackendContract):
    """A plugin with only the members that the contract names."""

    pulls_ahead = 1

    def account(self, key: str) -> PigeonBackend:
        LOFTS.clear()
        return PigeonBackend("anna@pigeon.example", PigeonSettings.model_validate({"key": key}))

    @pytest.fixture
    def backend(self) -> PigeonBackend:
        return self.account(KEY)

    @pytest.fixture
    def refusing_backend(self) -> PigeonBackend:
        return self.account("Another-Canary-77")

    @pytest.fixture
    def delivered(self) -> Callable[[], list[bytes]]:
        return lambda: [email.content for loft in LOFTS.values() for email in loft]


def test_a_connection_that_cannot_send_is_no_connection() -> None:
    with pytest.raises(TypeError, match="send"):

        class Idle(Connection):
            def close(self) -> None:
                """Nothing to close."""


@pytest.mark.parametrize(
    ("outcome", "scope", "goes_on"),
    [
        (Outcome.accepted, Scope.recipient, True),
        (Outcome.refused, Scope.recipient, True),
        (Outcome.refused, Scope.message, True),
        (Outcome.deferred, Scope.recipient, True),
        (Outcome.deferred, Scope.account, False),
        (Outcome.deferred, Scope.connection, False),
        (Outcome.exhausted, Scope.account, False),
        (Outcome.unauthorised, Scope.account, False),
        (Outcome.in_doubt, Scope.connection, False),
    ],
)
def test_one_at_a_time_stops_pulling_when_the_next_has_no_chance(
    outcome: Outcome, scope: Scope, goes_on: bool
) -> None:
    class Fixed(Connection):
        def send(self, message: Message) -> Receipt:
            return Receipt(message.id, outcome, scope=scope)

        def close(self) -> None:
            """Nothing to close."""

    messages = iter([Message(number, "a@x", "b@x", b"") for number in range(3)])
    assert len(list(Fixed().send_many(messages))) == (3 if goes_on else 1)
    assert len(list(messages)) == (0 if goes_on else 2)
