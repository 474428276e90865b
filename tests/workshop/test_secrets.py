"""No secret leaks through a task, a log or a command's arguments."""

import inspect

import click
import pytest

from mailganer.audience import tasks as audience_tasks
from mailganer.cli import COMMANDS, cli
from mailganer.sending import tasks

SECRET_WORDS = ("password", "secret", "token", "key", "credential")


def celery_tasks():
    from celery import current_app

    assert tasks.run_tick.name == "mailganer.tick"
    assert audience_tasks.run_import.name == "mailganer.import"
    return {name: task for name, task in current_app.tasks.items() if name.startswith("mailganer.")}


def test_tasks_carry_numbers_and_nothing_else():
    found = celery_tasks()
    assert set(found) >= {"mailganer.tick", "mailganer.plan", "mailganer.run_lane", "mailganer.import"}
    for name, task in found.items():
        for parameter in inspect.signature(task.run).parameters.values():
            assert parameter.annotation in {int, "int"}, f"{name} takes {parameter}"


def options(command):
    yield from command.params
    for each in getattr(command, "commands", {}).values():
        yield from options(each)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_no_command_takes_a_secret_as_an_argument(name):
    command = cli.get_command(click.Context(cli), name)
    named = {
        part
        for option in options(command)
        if not getattr(option, "is_flag", False)  # it takes no value
        for part in (option.name, *option.opts)
    }
    assert not [part for part in named if any(word in part.lower() for word in SECRET_WORDS)]
