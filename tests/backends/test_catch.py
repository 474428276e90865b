"""The local mail catcher and its inbox."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailganer.backends import Message, Network, Outcome
from mailganer.backends.smtp import SMTPBackend, SMTPSettings
from mailganer.errors import MailganerError, NotFound
from mailganer.mail_catcher import (
    clear_outbox,
    make_folder,
    read_email,
    read_outbox,
    serve_catcher,
    store_email,
)
from tests.support.pace import within
from tests.support.ports import free_port

EMAIL = (
    "From: =?utf-8?b?0JDQvdC90LA=?= <anna@example.com>\r\nTo: Reader <r@example.org>\r\n"
    "Subject: =?utf-8?b?0J/RgNC40LLQtdGC?=\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    '--b\r\nContent-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nПривет\r\n'
    '--b\r\nContent-Type: text/html; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
    "<p>Привет</p>\r\n.\r\n--b--\r\n"
).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_folder(tmp_path / "outbox")
    return tmp_path / "outbox"


@pytest.fixture
def catcher(tmp_path: Path) -> Iterator[tuple[int, Path, subprocess.Popen[bytes]]]:
    port, folder = free_port(), tmp_path / "outbox"
    code = (
        "from pathlib import Path; from mailganer.mail_catcher import serve_catcher;"
        f"serve_catcher('127.0.0.1', {port}, Path({str(folder)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    yield port, folder, process
    process.kill()
    process.communicate()


def account(port: int, password: str = "anything") -> SMTPBackend:
    settings = SMTPSettings.model_validate(
        {"host": "127.0.0.1", "port": port, "security": "none", "password": password}
    )
    return SMTPBackend("anna@example.com", settings, Network(allow_private=True))


def wait_for(port: int) -> SMTPBackend:
    until = time.monotonic() + 15
    while True:
        try:
            account(port).verify()
            return account(port)
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_it_catches_emails_and_leaves_cleanly(catcher: tuple[int, Path, subprocess.Popen[bytes]]) -> None:
    port, folder, process = catcher
    backend = wait_for(port)
    with backend.connect() as connection:
        emails = [Message(n, "anna@example.com", f"r{n}@example.org", EMAIL) for n in range(50)]
        receipts = list(connection.send_many(emails))
    assert {receipt.outcome for receipt in receipts} == {Outcome.accepted}
    page = read_outbox(folder, limit=20)
    assert page.total == 50
    assert [summary.recipient for summary in page.items] == [f"r{n}@example.org" for n in range(49, 29, -1)]
    caught = read_email(folder, page.items[0].key)
    assert caught.content == EMAIL
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_port_in_use_is_one_sentence(folder: Path) -> None:
    ready = threading.Event()
    port = free_port()
    threading.Thread(target=serve_catcher, args=("127.0.0.1", port, folder, ready), daemon=True).start()
    assert ready.wait(5)
    with pytest.raises(MailganerError, match="another port"):
        serve_catcher("127.0.0.1", port, folder)


def test_an_email_is_shown_as_a_recipient_would_see_it(folder: Path) -> None:
    key = store_email(folder, "anna@example.com", "r@example.org", EMAIL)
    caught = read_email(folder, key)
    assert caught.summary.subject == "Привет"
    assert caught.summary.from_ == "Анна <anna@example.com>"
    assert (caught.summary.sender, caught.summary.recipient) == ("anna@example.com", "r@example.org")
    assert caught.text.strip() == "Привет"
    assert caught.html.startswith("<p>Привет</p>")
    assert caught.headers[0][0] == "From"
    assert caught.summary.size == len(EMAIL)
    (summary,) = read_outbox(folder).items
    assert summary == caught.summary


def test_pages_continue_where_the_last_one_ended(folder: Path) -> None:
    keys = [store_email(folder, "a@x", f"r{number}@x", EMAIL) for number in range(7)]
    first = read_outbox(folder, limit=3)
    second = read_outbox(folder, limit=3, before=first.next)
    third = read_outbox(folder, limit=3, before=second.next)
    assert [s.key for page in (first, second, third) for s in page.items] == keys[::-1]
    assert third.next is None


def test_emails_to_one_recipient_are_found(folder: Path) -> None:
    for recipient in ("anna@x.org", "ivan@x.org", "анна@пример.рф", "Ann+tag@x.org"):
        store_email(folder, "a@x", recipient, EMAIL)
    assert [s.recipient for s in read_outbox(folder, to="ivan@x.org").items] == ["ivan@x.org"]
    assert {s.recipient for s in read_outbox(folder, to="ann").items} == {"anna@x.org", "Ann+tag@x.org"}
    assert [s.recipient for s in read_outbox(folder, to="анна@").items] == ["анна@пример.рф"]


def test_ten_thousand_emails_do_not_slow_the_inbox(folder: Path) -> None:
    content = EMAIL + b"x" * 2000
    new = folder / "new"
    for number in range(10_000):
        (new / f"{number:019d}.1_{number}.r{number}@x.org").write_bytes(
            b"Return-Path: <a>\r\nDelivered-To: b\r\n" + content
        )
    began = time.process_time()
    page = read_outbox(folder, limit=50)
    found = read_outbox(folder, to="r9998@x.org")
    assert time.process_time() - began < within(1.0)
    assert page.total == 10_000
    assert len(found.items) == 1


@pytest.mark.parametrize(
    "key", ["../../../etc/passwd", "", "x", "0" * 19 + ".1_1.%2e%2e/x", "1763890000000000000.1_1.a@b"]
)
def test_a_key_leads_to_an_email_or_to_nothing(folder: Path, key: str) -> None:
    with pytest.raises(NotFound):
        read_email(folder, key)


def test_an_address_that_looks_like_a_path_stays_a_name(folder: Path) -> None:
    key = store_email(folder, "a@x\r\nX-Evil: 1", "../../r/" + "z" * 300 + "@x", EMAIL)
    assert os.listdir(folder / "new") == [key]
    caught = read_email(folder, key)
    assert caught.content == EMAIL
    assert caught.summary.sender == "a@xX-Evil: 1"


def test_what_is_no_email_is_still_shown(folder: Path) -> None:
    for content in (
        b"",
        b"no headers at all",
        b"\xff\xfe\x00",
        b"Content-Type: text/plain; charset=nonsense\r\n\r\nhi",
    ):
        key = store_email(folder, "a@x", "b@x", content)
        assert read_email(folder, key).content == content
    assert len(read_outbox(folder).items) == 4


def test_an_empty_inbox_is_empty(tmp_path: Path) -> None:
    assert read_outbox(tmp_path / "nowhere").items == ()
    assert clear_outbox(tmp_path / "nowhere") == 0


def test_the_inbox_can_be_emptied(folder: Path) -> None:
    store_email(folder, "a@x", "b@x", EMAIL)
    assert clear_outbox(folder) == 1
    assert read_outbox(folder).total == 0
