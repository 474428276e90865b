"""Logs of a command are JSON on standard error; its output to the user stays sentences."""

import json
import logging
import warnings
from typing import Any

import click
import pytest
import structlog

from mailganer import cli, migrations
from mailganer.logs import write_through_logging

log = logging.getLogger("mailganer.tests")


def noise() -> None:
    log.info("no news")
    log.warning("%s is slow", "the disk")
    structlog.get_logger("mailganer.noise").error("store.lost", number=3)
    warnings.warn("this will go", FutureWarning, stacklevel=1)
    try:
        raise ValueError("nonsense")
    except ValueError:
        log.exception("it broke")


@pytest.fixture(autouse=True)
def structlog_as_in_a_new_process() -> None:
    write_through_logging()


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def levels(lines: list[dict[str, Any]]) -> list[str]:
    return [line["level"] for line in lines]


@pytest.mark.filterwarnings("always::FutureWarning")
@pytest.mark.parametrize("name", sorted(set(cli.COMMANDS) - cli.PARTS))
def test_every_command_logs_json_with_true_levels(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def callback() -> None:
        click.echo("A sentence.")
        noise()
        raise click.ClickException("A sentence about an error.")

    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: click.Command(name, callback=callback))
    assert cli.run([name]) == 2
    said = capsys.readouterr()
    assert said.out == "A sentence.\n"
    text, _, error = said.err.strip().rpartition("\n")
    assert error == "A sentence about an error."
    lines = lines_of(text)
    assert levels(lines) == ["warning", "error", "warning", "error"]
    assert all(line["timestamp"] and line["logger"] for line in lines)
    assert lines[0]["event"] == "the disk is slow"
    assert (lines[1]["event"], lines[1]["number"]) == ("store.lost", 3)
    assert "this will go" in lines[2]["event"]
    assert "ValueError: nonsense" in lines[3]["exception"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("production", [True, False])
def test_a_command_of_an_installation_in_development_logs_plain_lines(
    ini: Any,
    engine: Any,
    production: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    current = migrations.current

    def slow(*arguments: Any) -> Any:
        log.warning("the disk is slow")
        return current(*arguments)

    monkeypatch.setattr(migrations, "current", slow)
    ini.write_text(f"{ini.read_text()}mailganer.development = {'false' if production else 'true'}\n")
    assert cli.run(["migrate", str(ini)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("The database already has the newest schema")
    if production:
        assert levels(lines_of(said.err)) == ["warning"]
    else:
        assert said.err.endswith("WARNING mailganer.tests: the disk is slow\n")


def test_logs_are_as_before_after_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    assert cli.run(["alive", "ghost"]) == 2
    assert structlog.get_config() == before
    assert logging.getLogger().handlers == handlers
    assert "ghost" in capsys.readouterr().err
