"""Contract tests for sender backends, to inherit from.

::

    class TestMine(BackendContract):
        @pytest.fixture
        def backend(self, server):
            return MyBackend("me@example.com", MyBackend.Settings(token="..."), Network(allow_private=True))

        @pytest.fixture
        def delivered(self, server):
            return lambda: [email.content for email in server.emails]

Define ``backend`` (an account that works) and ``delivered``; also ``refusing_backend`` (an account whose
login fails) and ``accepted_id`` if the backend supports them. Everything else is inherited. Run the tests
against a real service.
"""

# ruff: noqa: S101 - these are tests, and tests assert

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from ..errors import BackendError
from .backend_settings import secret_fields
from .base import Backend, Connection
from .messages import Message, Outcome, Receipt, Scope
from .network import Limits, Network


class BackendContract:
    """Contract tests. Inherit from this in a class whose name begins with ``Test``."""

    #: How many messages a connection may consume ahead of the receipts it has given.
    pulls_ahead = 64

    @pytest.fixture
    def backend(self) -> Backend:
        """An account that can send."""
        raise NotImplementedError("give a fixture called backend")

    @pytest.fixture
    def delivered(self) -> Callable[[], list[bytes]]:
        """A function that lists the contents of all emails that arrived, in order of arrival."""
        raise NotImplementedError("give a fixture called delivered")

    @pytest.fixture
    def refusing_backend(self) -> Backend | None:
        """An account whose password is wrong; None where there are no passwords."""
        return None

    @pytest.fixture
    def accepted_id(self, backend: Backend) -> str | None:
        """The Message-ID of an email the server has; None where the backend cannot tell."""
        return None

    def email(self, backend: Backend, number: int | str) -> Message:
        """Return a small email, identified by its number."""
        content = (
            f"From: <{backend.email}>\r\nTo: <reader{number}@example.com>\r\nSubject: Email {number}\r\n"
            f"Message-ID: <letter-{number}@contract.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
            f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
            f"This is email {number}.\r\n.\r\n..two dots\r\nThe end.\r\n"
        )
        return Message(number, backend.email, f"reader{number}@example.com", content.encode("ascii"))

    # The class.

    def test_the_class_says_what_it_is(self, backend: Backend) -> None:
        kind = type(backend)
        assert kind.name.isidentifier(), "name stands in ini keys: letters, digits and _"
        assert str(kind.title).strip()
        assert all(domain == domain.lower() and "@" not in domain for domain in kind.domains)
        assert isinstance(kind.domains, frozenset)

    def test_settings_are_a_pydantic_model_whose_secrets_are_marked(self, backend: Backend) -> None:
        kind = type(backend)
        assert issubclass(kind.Settings, BaseModel)
        assert isinstance(backend.settings, kind.Settings)
        suspicious = ("password", "secret", "token", "api_key")
        unmarked = {name for name in kind.Settings.model_fields if any(word in name for word in suspicious)}
        assert unmarked <= secret_fields(kind.Settings), (
            "these are stored and shown as they are: use SecretStr"
        )

    def test_limits_make_sense(self, backend: Backend) -> None:
        for limits in (type(backend).limits, backend.own_limits()):
            assert isinstance(limits, Limits)
            assert limits.max_connections >= 1
            for number in (limits.per_day, limits.per_second, limits.per_connection):
                assert number is None or number > 0

    def test_it_guesses_only_fields_that_its_form_has(self, backend: Backend) -> None:
        guessed = type(backend).guess(backend.email)
        assert set(guessed) <= set(type(backend).Settings.model_fields)

    def test_the_identity_does_not_depend_on_capital_letters(self, backend: Backend) -> None:
        server, login = backend.identity()
        assert server
        assert login
        shouted = type(backend)(
            backend.email.upper(), backend.settings, backend.network, backend.options
        ).identity()
        assert shouted == (server, login)

    def test_no_secret_shows_in_its_representation(self, backend: Backend) -> None:
        shown = repr(backend) + str(backend) + repr(backend.settings) + str(backend.settings)
        for name in secret_fields(type(backend).Settings):
            value = getattr(backend.settings, name)
            if isinstance(value, SecretStr) and value.get_secret_value():
                assert value.get_secret_value() not in shown

    # Verification.

    def test_a_working_account_is_verified_without_sending_anything(
        self, backend: Backend, delivered: Callable[[], list[bytes]]
    ) -> None:
        backend.verify()
        assert delivered() == []

    def test_a_refused_account_raises_a_domain_error_without_its_secret(
        self, refusing_backend: Backend | None
    ) -> None:
        if refusing_backend is None:
            return
        for attempt in (refusing_backend.verify, refusing_backend.connect):
            with pytest.raises(BackendError) as caught:
                attempt()
            report = str(caught.value) + repr(caught.value) + caught.value.reply
            for name in secret_fields(type(refusing_backend).Settings):
                value = getattr(refusing_backend.settings, name)
                if isinstance(value, SecretStr) and value.get_secret_value():
                    assert value.get_secret_value() not in report

    # Sending.

    def test_every_message_gets_one_receipt_in_order_and_arrives_once(
        self, backend: Backend, delivered: Callable[[], list[bytes]]
    ) -> None:
        emails = [self.email(backend, number) for number in range(20)]
        with backend.connect() as connection:
            receipts = list(connection.send_many(emails))
        assert [receipt.message_id for receipt in receipts] == [email.id for email in emails]
        assert {receipt.outcome for receipt in receipts} == {Outcome.accepted}
        assert _bodies(delivered()) == _bodies([email.content for email in emails])

    def test_receipts_are_well_formed(self, backend: Backend) -> None:
        with backend.connect() as connection:
            receipt = connection.send(self.email(backend, "one"))
        assert isinstance(receipt, Receipt)
        assert isinstance(receipt.outcome, Outcome)
        assert isinstance(receipt.scope, Scope)
        assert receipt.message_id == "one"
        assert len(receipt.reply) <= 500
        assert receipt.reply.isprintable()

    def test_messages_are_pulled_lazily(self, backend: Backend) -> None:
        pulled = 0

        def endless() -> Iterator[Message]:
            nonlocal pulled
            while True:
                pulled += 1
                yield self.email(backend, pulled)

        with backend.connect() as connection:
            receipts = connection.send_many(endless())
            for expected in range(1, 4):
                assert next(receipts).message_id == expected
            _finish(receipts)
        assert pulled <= 3 + self.pulls_ahead

    def test_nothing_to_send_is_fine(self, backend: Backend, delivered: Callable[[], list[bytes]]) -> None:
        with backend.connect() as connection:
            assert list(connection.send_many([])) == []
        assert delivered() == []

    def test_a_connection_serves_several_rounds(self, backend: Backend) -> None:
        with backend.connect() as connection:
            for number in range(3):
                receipts = list(connection.send_many([self.email(backend, number)]))
                assert [receipt.outcome for receipt in receipts] == [Outcome.accepted]

    def test_an_error_of_the_caller_comes_back_after_the_receipts(self, backend: Backend) -> None:
        def failing() -> Iterator[Message]:
            yield self.email(backend, 1)
            raise LookupError("the caller's own")

        with backend.connect() as connection:
            receipts = connection.send_many(failing())
            assert next(receipts).message_id == 1
            with pytest.raises(LookupError):
                next(receipts)

    def test_leaving_in_the_middle_leaves_nothing_open(self, backend: Backend) -> None:
        with backend.connect() as connection:
            receipts = connection.send_many(self.email(backend, number) for number in range(50))
            assert next(receipts).outcome is Outcome.accepted
            _finish(receipts)
        with backend.connect() as connection:
            assert connection.send(self.email(backend, "after")).outcome is Outcome.accepted

    def test_closing_twice_is_fine(self, backend: Backend) -> None:
        connection = backend.connect()
        assert isinstance(connection, Connection)
        connection.close()
        connection.close()

    def test_a_connection_can_be_dropped(self, backend: Backend) -> None:
        connection = backend.connect()
        connection.abort()
        connection.close()

    # Emails sent earlier.

    def test_it_tells_what_it_can_about_emails_sent_before(
        self, backend: Backend, accepted_id: str | None
    ) -> None:
        if accepted_id is None:
            assert backend.was_accepted("<nobody-sent-this@contract.example>") is not True
            return
        assert backend.was_accepted(accepted_id) is True
        assert backend.was_accepted("<nobody-sent-this@contract.example>") is False

    def test_a_strange_message_id_proves_nothing(self, backend: Backend) -> None:
        for strange in ("", "<>", '"x" OR ALL', "<a@b>\r\nDELETE", "<no-at>"):
            assert backend.was_accepted(strange) is not True

    def test_the_constructor_takes_what_the_registry_gives(self, backend: Backend) -> None:
        signature = inspect.signature(type(backend))
        bound: Any = signature.bind(backend.email, backend.settings, Network(), {"option": "value"})
        assert bound.arguments[next(iter(signature.parameters))] == backend.email


def _finish(receipts: Iterator[Receipt]) -> None:
    """Stop iterating, like a caller that does not read all receipts."""
    close = getattr(receipts, "close", None)
    if close is not None:
        close()


def _bodies(contents: list[bytes]) -> list[bytes]:
    """Return the bodies, sorted: servers add headers, and several connections mix the order."""
    return sorted(content.partition(b"\r\n\r\n")[2] for content in contents)
