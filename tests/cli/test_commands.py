"""Commands report in sentences and exit codes, never with a traceback."""

import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from mailganer.cli import COMMANDS, cli, doctor
from mailganer.models import Account, Heartbeat, Voucher

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_help_names_every_command_and_imports_none(run):
    seen = run("--help")
    assert all(f"\n  {name} " in seen.stdout for name in COMMANDS)
    look = "import sys, mailganer.cli; mailganer.cli.run(['--help']); print('sqlalchemy' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "False"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(name):
    command = cli.get_command(None, name)
    assert command.name == name
    assert command.help


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["snd"], "No such command 'snd'."),
        (["alive"], "Choose from: web, worker, beat"),
        (["alive", "ghost"], "'ghost' is not one of"),
        (["doctor", "--nonsense"], "No such option"),
        (["voucher", "create", "--plan", "pro", "--days", "many"], "'many' is not a valid integer."),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(run, arguments, words):
    seen = run(*arguments)
    assert (seen.returncode, seen.stdout) == (2, "")
    (line,) = seen.stderr.splitlines()
    assert words in line


def test_a_group_of_commands_alone_lists_them(run):
    seen = run("account")
    assert seen.returncode == 2
    assert "close" in seen.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "beat", "web", "migrate"])
def test_wrong_settings_are_all_listed_and_nothing_starts(run_process, tmp_path, command):
    ini = tmp_path / "bad.ini"
    ini.write_text(
        "[app:main]\nmailganer.public_url = nonsense\nmailganer.plan = free\ncelery.broker_url = ftp://x\n"
    )
    seen = run_process(command, ini)
    assert seen.returncode == 2
    lines = seen.stderr.strip().splitlines()
    for key in (
        "sqlalchemy.url",
        "mailganer.public_url",
        "mailganer.secret_key",
        "celery.broker_url",
        "mailganer.plan ",
    ):
        assert [line for line in lines if line.startswith(key)], key
    assert len(lines) == 5
    assert seen.stdout == ""


@on_sqlite
def test_backends_and_payments_that_cannot_be_loaded_are_listed_together(run, ini):
    text = ini.read_text().replace("gmail smtp maildir", "smtp pigeon")
    ini.write_text(text + "mailganer.payments = gold\n")
    seen = run("migrate", "--check", ini)
    assert seen.returncode == 2
    assert "pigeon" in seen.stderr
    assert "gold" in seen.stderr


def test_no_settings_file_is_a_sentence(run, tmp_path):
    seen = run("migrate", tmp_path / "nowhere.ini")
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.startswith("There is no settings file")


def test_a_database_that_does_not_answer_is_a_sentence(run, tmp_path, ini_values):
    ini_values["sqlalchemy.url"] = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    ini = tmp_path / "test.ini"
    ini.write_text("[app:main]\n" + "\n".join(f"{key} = {value}" for key, value in ini_values.items()))
    seen = run("account", "--ini", ini, "list")
    assert seen.returncode == 1
    assert seen.stderr.startswith("The database reported an error")
    assert "Traceback" not in seen.stderr
    assert len(seen.stderr.strip().splitlines()) == 1


def test_migrating_twice_does_nothing_the_second_time(run, ini, databases, database_url):
    empty = databases.fresh("sqlite" if database_url.startswith("sqlite") else "postgresql", empty=True)
    ini.write_text(ini.read_text().replace(database_url, empty))
    first, second = run("migrate", ini), run("migrate", ini)
    assert "was migrated" in first.stdout
    assert "already" in second.stdout
    assert (first.returncode, second.returncode) == (0, 0)


@on_sqlite
def test_an_empty_database_is_not_taken_for_a_good_one(run, ini, databases, database_url):
    ini.write_text(ini.read_text().replace(database_url, databases.fresh("sqlite", empty=True)))
    seen = run("account", "--ini", ini, "list")
    assert seen.returncode == 2
    assert "mailganer migrate" in seen.stderr


# Accounts and vouchers


def test_accounts_are_listed_with_their_plan_and_use(run, ini, make, account):
    make.subscribers(account, 3, make.list(account))
    make.commit()
    seen = run("account", "list", MAILGANER_INI=str(ini))
    header, line = seen.stdout.splitlines()
    assert header.split()[:3] == ["number", "address", "plan"]
    assert line.split()[:5] == [str(account.id), "anna@example.com", "free", "-", "3"]


@on_sqlite
def test_one_account_is_shown_with_its_senders_and_no_secret(run, ini, make, account):
    make.sender(account)
    make.commit()
    seen = run("account", "--ini", ini, "show", "anna@example.com")
    assert "sends from" in seen.stdout
    assert "0 of 200" in seen.stdout
    assert "secret" not in seen.stdout


def test_an_account_gets_another_plan_for_some_days(run, ini, make, account, session, now):
    make.commit()
    seen = run("account", "--ini", ini, "plan", "anna@example.com", "pro", "--days", 30)
    assert seen.returncode == 0, seen.stderr
    session.expire_all()
    found = session.get(Account, account.id)
    assert found.plan == "pro"
    assert timedelta(days=29) < found.plan_until - now < timedelta(days=31)


@on_sqlite
def test_a_plan_that_is_not_there_is_refused(run, ini, make, account):
    make.commit()
    seen = run("account", "--ini", ini, "plan", account.id, "gold")
    assert seen.returncode == 2
    assert seen.stderr.strip() == "The plan 'gold' does not exist. Available plans: free, pro."


@on_sqlite
def test_an_account_is_closed_only_when_confirmed(run, ini, make, account, session):
    make.sender(account)
    make.commit()
    number = account.id
    refused = run("account", "--ini", ini, "close", number)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "--yes" in refused.stderr
    session.rollback()
    session.expire_all()
    assert session.get(Account, number).closed_at is None
    session.rollback()
    session.expire_all()
    assert run("account", "--ini", ini, "close", number, "--yes").returncode == 0
    assert session.get(Account, number).closed_at is not None
    session.rollback()
    session.expire_all()
    again = run("account", "--ini", ini, "close", number, "--yes")
    assert again.returncode == 1
    assert "was closed on" in again.stderr


@on_sqlite
@pytest.mark.parametrize(("said", "closed", "code"), [(b"n\n", False, 130), (b"y\n", True, 0)])
def test_on_a_terminal_it_asks_before_an_account_is_closed(
    run_process, ini, make, account, session, said, closed, code
):
    make.commit()
    number = account.id
    session.rollback()
    ours, theirs = pty.openpty()
    os.write(ours, said)
    seen = run_process("account", "--ini", ini, "close", number, stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert seen.returncode == code, seen.stderr
    session.expire_all()
    assert (session.get(Account, number).closed_at is not None) is closed


@on_sqlite
def test_no_one_has_this_address(run, ini, make):
    seen = run("account", "--ini", ini, "show", "nobody@example.com")
    assert seen.returncode == 1
    assert seen.stderr.startswith("Account nobody@example.com does not exist.")


def test_vouchers_are_printed_one_on_a_line(run_process, ini, session):
    seen = run_process("voucher", "--ini", ini, "create", "--plan", "pro", "--days", 30, "--count", 3)
    assert seen.returncode == 0, seen.stderr
    codes = [voucher.code for voucher in session.query(Voucher)]
    assert sorted(seen.stdout.split()) == sorted(codes)
    assert len(codes) == 3


@on_sqlite
@pytest.mark.parametrize("wrong", [("--plan", "gold", "--days", 30), ("--plan", "pro", "--days", 0)])
def test_senseless_vouchers_are_not_made(run, ini, session, wrong):
    seen = run("voucher", "--ini", ini, "create", *wrong)
    assert seen.returncode == 2
    assert len(seen.stderr.strip().splitlines()) == 1
    assert session.query(Voucher).count() == 0


# The doctor


def test_the_doctor_finds_a_running_installation_well(run_process, ini, make, session, now):
    session.add_all([Heartbeat(name="worker here:1", seen_at=now), Heartbeat(name="beat", seen_at=now)])
    make.commit()
    ini.write_text(ini.read_text() + "mailganer.development = true\n")
    seen = run_process("doctor", ini)
    assert seen.returncode == 0, seen.stdout
    parts = [line.split()[1] for line in seen.stdout.splitlines()]
    assert set(parts) >= {
        "settings",
        "database",
        "broker",
        "workers",
        "clock",
        "backends",
        "payments",
        "address",
    }


@on_sqlite
def test_the_doctor_says_of_each_ill_part_what_to_do(run, ini, ini_values):
    text = ini.read_text().replace(ini_values["celery.broker_url"], "redis://127.0.0.1:1/0")
    ini.write_text(text)
    seen = run("doctor", ini)
    assert seen.returncode == 1
    ill = {line.split()[1]: line for line in seen.stdout.splitlines() if line.startswith("FAIL")}
    assert "CELERY_BROKER_URL" in ill["broker"]
    assert "mailganer beat" in ill["workers"]
    assert "PUBLIC_URL" in ill["address"]
    assert "allow_private_smtp_hosts" in ill["safety"]


@on_sqlite
def test_the_doctor_notices_a_machine_whose_clock_is_wrong(ini, settings, monkeypatch):
    monkeypatch.setattr(doctor, "utcnow", lambda: datetime.now(UTC) - timedelta(minutes=5))
    ((well, sentence),) = dict(doctor.CHECKS)["clock"](settings)
    assert not well
    assert sentence == "This machine's clock is 300 s behind the database's. Synchronize both with NTP."


@on_sqlite
def test_the_doctor_lists_wrong_settings(run, ini):
    ini.write_text(ini.read_text() + "mailganer.public_ur = x\nmailganer.demo = perhaps\n")
    seen = run("doctor", ini)
    assert seen.returncode == 1
    assert len(seen.stdout.splitlines()) == 2
    assert "Did you mean mailganer.public_url?" in seen.stdout


@on_sqlite
def test_a_key_that_stands_twice_in_the_ini_file_is_a_sentence(run, ini):
    ini.write_text(ini.read_text() + "mailganer.public_url = http://localhost\n")
    seen = run("migrate", ini)
    assert seen.returncode == 2
    assert "already exists" in seen.stderr


# Health checks of containers


@pytest.mark.parametrize(("age", "code"), [(10, 0), (600, 1)])
@on_sqlite
def test_beat_is_alive_while_it_is_seen(run, ini, session, now, age, code):
    session.add(Heartbeat(name="beat", seen_at=now - timedelta(seconds=age)))
    session.commit()
    assert run("alive", "beat", ini).returncode == code


@on_sqlite
def test_a_web_part_that_does_not_answer_is_not_alive(run, ini):
    ini.write_text(ini.read_text() + "mailganer.listen = 127.0.0.1:1\n")
    assert run("alive", "web", ini).returncode == 1
