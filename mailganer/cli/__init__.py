"""The ``mailganer`` command.

Each command lives in its own module, imported when it is called: ``mailganer --help`` responds at once, and
the mail catcher does not load a database driver. Every error is one sentence on stderr and an exit code: 1
when the work failed, 2 when the arguments or a setting are wrong.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from .. import __version__, errors
from .command_logs import command_logs
from .common import sentence

COMMANDS = {
    "serve": (
        "serve:serve",
        "Run everything on this machine: web, worker, beat, and a broker if none is set.",
    ),
    "worker": ("parts:worker", "Run a worker alone. Workers send the emails."),
    "beat": ("parts:beat", "Run the scheduler (beat) alone. One is enough."),
    "web": ("parts:web", "Run the web server alone."),
    "migrate": ("migrate:migrate", "Migrate the database to the newest schema."),
    "backup": ("backup:backup", "Copy database and uploaded files into a new folder."),
    "restore": ("backup:restore", "Restore a backup. Running campaigns are paused until confirmed."),
    "rotate-key": ("keys:rotate_key", "Encrypt stored passwords with the first secret key."),
    "send": ("send:send", "Send one campaign from the command line."),
    "catch": ("catch:catch", "Run a local mail server that keeps every email and delivers none."),
    "drill": ("drill:drill", "Kill workers and break connections on purpose, then count the deliveries."),
    "doctor": ("doctor:doctor", "Check this installation and show how to fix problems."),
    "counts": (
        "counts:counts",
        "Check the kept counts of subscribers, and correct them.",
    ),
    "account": ("account:account", "List, show and close accounts, and change their plans."),
    "voucher": ("voucher:voucher", "Create vouchers for plans."),
    "alive": (
        "alive:alive",
        "Check that web, worker or beat is running on this machine (for health checks).",
    ),
}
"""Command -> module and object, and its line in ``mailganer --help``, which imports none of them."""

PARTS = {"web", "worker", "beat"}
"""Commands that set up their own logs."""


class Commands(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(f".{module}", __name__), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """Mailganer sends campaigns through the mail account you already have.

    Settings come from the named INI file, else from MAILGANER_INI, else from development.ini here or beside
    the program; a .env file next to it and the environment override it.
    """
    if context.invoked_subcommand not in PARTS:
        context.with_resource(command_logs())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; every error becomes a sentence on stderr."""
    try:
        answer = cli.main(args=None if arguments is None else list(arguments), standalone_mode=False)
        return answer if isinstance(answer, int) else 0
    except click.exceptions.Exit as asked:
        return asked.exit_code
    # A group without a subcommand: its help is the output.
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _say(" ".join(error.format_message().split()), 2)
    except (click.Abort, KeyboardInterrupt):
        return _say("Stopped.", 130)
    except errors.SettingsError as error:
        return _say("\n".join(map(sentence, error.problems)), 2)
    except errors.InputError as error:
        return _say("\n".join(sentence(message) for message in error.fields.values()), 2)
    except errors.MailganerError as error:
        return _say(str(error), 1)
    except Exception as error:
        if os.environ.get("MAILGANER_TRACEBACK"):
            raise
        return _say(_unexpected(error), 1)


def _unexpected(error: Exception) -> str:
    """Return the message for an unexpected error, without a traceback."""
    if _is_database(error):
        return f"The database reported an error: {_first_line(getattr(error, 'orig', error))}"
    if isinstance(error, OSError):
        return _first_line(error)
    kind = type(error).__name__
    return (
        f"Unexpected error: {kind}: {_first_line(error)} "
        "Run the command again with MAILGANER_TRACEBACK=1 to see the traceback, and report it."
    )


def _is_database(error: Exception) -> bool:
    """Return whether it is a database error.

    The class is looked up by name, so that a command that needs no database does not import SQLAlchemy.
    """
    module = sys.modules.get("sqlalchemy.exc")
    return module is not None and isinstance(error, module.DBAPIError)


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _say(sentence: str, code: int) -> int:
    click.echo(sentence, err=True)
    return code
