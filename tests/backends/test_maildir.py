"""Emails in folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailganer.backends import Message, Network, Outcome, Scope, SenderRefused
from mailganer.backends.maildir import MaildirBackend, MaildirSettings


@pytest.fixture
def backend(tmp_path: Path) -> MaildirBackend:
    return MaildirBackend(
        "anna@example.com", MaildirSettings(), Network(), {"folder": str(tmp_path / "mail")}
    )


def message(number: int, head: str = "") -> Message:
    content = f"{head}Message-ID: <n{number}@x>\r\nSubject: s\r\n\r\nMessage-ID: <body@x>\r\n"
    return Message(number, "anna@example.com", f"r{number}@example.org", content.encode())


def test_an_email_is_a_file_with_its_envelope_above_it(backend: MaildirBackend) -> None:
    with backend.connect() as connection:
        connection.send(message(1))
    (file,) = (backend.folder / "new").iterdir()
    assert file.read_bytes() == (
        b"Return-Path: <anna@example.com>\r\nDelivered-To: r1@example.org\r\n" + message(1).content
    )
    assert list((backend.folder / "tmp").iterdir()) == []


def test_an_email_is_found_by_its_message_id_even_after_it_was_read(backend: MaildirBackend) -> None:
    with backend.connect() as connection:
        connection.send(message(1, head="X-Other: 1\r\n"))
    assert backend.was_accepted("<n1@x>") is True
    assert backend.was_accepted("n1@x") is True
    assert backend.was_accepted("<n2@x>") is False
    assert backend.was_accepted("<body@x>") is False
    (file,) = (backend.folder / "new").iterdir()
    file.rename(backend.folder / "cur" / (file.name + ":2,S"))
    assert backend.was_accepted("<n1@x>") is True


def test_an_address_never_leaves_the_root(tmp_path: Path) -> None:
    for address in ("../../etc/passwd@x", "/abs@x", "..@x", ".hidden@x", "a\\b@x"):
        backend = MaildirBackend(address, MaildirSettings(), Network(), {"folder": str(tmp_path)})
        assert backend.folder.parent == tmp_path
        assert not backend.folder.name.startswith(".")


def test_a_disk_that_is_full_or_gone_defers(backend: MaildirBackend) -> None:
    connection = backend.connect()
    for part in ("new", "tmp", "cur"):
        (backend.folder / part).rmdir()
    receipt = connection.send(message(1))
    assert receipt.outcome is Outcome.deferred
    assert receipt.scope is Scope.connection
    assert "No such file" in receipt.reply


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    backend = MaildirBackend("a@x", MaildirSettings(), Network(), {"folder": str(tmp_path / "file")})
    for attempt in (backend.verify, backend.connect):
        with pytest.raises(SenderRefused):
            attempt()
