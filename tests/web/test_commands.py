"""Wrong arguments of a command are reported in one sentence, before anything is sent: exit code 2."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mailganer.cli.send import send


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smtp_server: Any) -> Any:
    monkeypatch.setenv("MAILGANER_SMTP_PASSWORD", "secret")
    subscribers, email = tmp_path / "people.csv", tmp_path / "email.html"
    subscribers.write_text("email\nreader@example.org\n")

    def run(html: str = "Hello {{ unsubscribe_url }}", **changed: str) -> Any:
        email.write_text(html)
        given = {
            "from": "anna@example.com",
            "subject": "News",
            "to": str(subscribers),
            "html": str(email),
            "smtp": f"smtp://anna%40example.com@127.0.0.1:{smtp_server.port}",
            **changed,
        }
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        result = CliRunner().invoke(send, words, standalone_mode=False)
        assert smtp_server.emails == []
        return result

    return run


def said(result: Any) -> str:
    """Return what the command printed, or the error of its arguments."""
    assert result.return_value == 2 or getattr(result.exception, "exit_code", None) == 2
    text = result.output + str(getattr(result.exception, "message", ""))
    assert "${" not in text
    assert "Errno" not in text
    return text


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("{{ x|nofilter }}", "“nofilter”"),
        ("one\n{% if %}", "line 2"),
        ("{{ 'a'*10**9 }}", "cannot be rendered"),
        ("{{ nobodyknows }}", "“nobodyknows”"),
    ],
)
def test_an_email_that_cannot_be_used_is_named_with_its_line(run: Any, html: str, words: str) -> None:
    assert words in said(run(html))


@pytest.mark.parametrize("sender", ["anna@example.com\nBcc: x@example.org", "anna", "a b@example.com"])
def test_a_sender_of_more_than_one_line_or_address_is_none(run: Any, sender: str) -> None:
    assert "use an address such as" in said(run(**{"from": sender}))


def test_a_time_in_the_past_is_asked_again(run: Any) -> None:
    assert "has passed" in said(run(at="2001-01-01T00:00"))


def test_a_state_that_cannot_be_kept_is_said_before_sending(run: Any, tmp_path: Path) -> None:
    assert "no folder" in said(run(state=str(tmp_path / "nowhere" / "state")))
    other = tmp_path / "other.state"
    other.write_text("email\na@example.org\n")
    assert "something else" in said(run(state=str(other)))
    assert other.read_text() == "email\na@example.org\n"
