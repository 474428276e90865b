"""Shared by tests of rendering: one recipient, one sender, and an email app that parses messages."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from typing import Any

import pytest

from mailganer.rendering import CompiledEmail, Envelope, MessageRenderer, RecipientHeaders, Source, Urls
from mailganer.rendering.compiler import prepare

URLS = Urls(
    unsubscribe="https://m.example.com/u/T0KEN",
    browser="https://m.example.com/v/T0KEN",
    open="https://m.example.com/o/T0KEN.gif",
    click="https://m.example.com/c/T0KEN",
)
ENVELOPE = Envelope(
    from_name="Мария из Мастерской",
    from_email="maria@example.com",
    list_id="news.17.example.com",
    list_name="Новости",
    locale="ru",
)
COPY = RecipientHeaders(
    email="anna@example.org",
    name="Анна Иванова",
    values={"first_name": "Анна", "email": "anna@example.org"},
    urls=URLS,
    message_id="<1f.2a@example.com>",
    date=datetime(2026, 11, 23, 10, 0, tzinfo=UTC),
)


def email_of(
    html: str = "<p>Hello</p>", subject: str = "Hello", preheader: str = "", text: str = "", **more: Any
) -> CompiledEmail:
    """An email compiled in this process: for tests of the result, not of the limits."""
    return prepare(Source(subject, preheader, html, text), more.pop("variables", {}), **more)


def read(message: bytes) -> EmailMessage:
    """Parse it as an email app does; broken headers or bodies are an error."""
    parsed = message_from_bytes(message, policy=modern)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    for part in parsed.walk():
        assert not part.defects
    return parsed


def part(message: bytes, kind: str) -> str:
    found = [piece for piece in read(message).walk() if piece.get_content_type() == f"text/{kind}"]
    assert len(found) == 1
    payload = found[0].get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode("utf-8").replace("\r\n", "\n")


@pytest.fixture
def printed() -> Callable[..., bytes]:
    """``printed(html, values, ...)``: one whole rendered message."""

    def printed(html: str = "<p>Hello</p>", values: dict[str, object] | None = None, **more: Any) -> bytes:
        envelope = replace(ENVELOPE, **more.pop("envelope", {}))
        copy = COPY._replace(values=COPY.values if values is None else values, **more.pop("copy", {}))
        return MessageRenderer(email_of(html, **more), envelope).render(copy)

    return printed
