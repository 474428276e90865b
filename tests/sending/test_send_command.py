"""``mailganer send``: one command, one campaign, no recipient twice."""

import signal
import time
from datetime import datetime, timedelta

import pytest

from tests.fixtures.command import Mailing
from tests.support.ports import wait_until


def test_every_recipient_gets_their_own_email(mailing: Mailing) -> None:
    done = mailing.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 sent" in done.stdout
    assert mailing.server.counts == {f"reader{n}@example.org": 1 for n in (1, 2, 3)}
    email = mailing.server.to("reader2@example.org")[0]
    assert email.message["Subject"] == "Новости для Имя2"
    assert "Здравствуйте, Имя2 из города Город2!" in email.part()
    assert email.message["List-Unsubscribe"] == "<mailto:anna@example.com?subject=unsubscribe>"
    assert email.message["List-Unsubscribe-Post"] is None
    assert "http" not in email.part()


def test_the_commonest_list_needs_no_explaining(mailing: Mailing) -> None:
    mailing.subscribers.write_text("email,name\nanna@example.org,Anna Smith\n")
    mailing.html.write_text("<p>Hello {{ name }}!</p>")
    done = mailing.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "Hello Anna Smith!" in mailing.server.to("anna@example.org")[0].part()


def test_the_same_command_again_repeats_no_email(mailing: Mailing) -> None:
    assert mailing.run().returncode == 0
    assert mailing.run().returncode == 0
    assert set(mailing.server.counts.values()) == {1}


def test_killed_in_the_middle_of_a_thousand_and_run_again_it_repeats_no_email(mailing: Mailing) -> None:
    mailing.write_list(1000)
    state = ("--state", str(mailing.folder / "state"))
    for enough in (100, 400):
        process = mailing.start(*state)
        wait_until(lambda: len(mailing.server.emails) > enough, timeout=60)  # noqa: B023
        process.kill()
        process.communicate()
    done = mailing.run(*state)
    assert set(mailing.server.counts.values()) == {1}
    doubtful = done.stdout.count("in doubt: ")
    missing = 1000 - len(mailing.server.counts)
    assert missing <= doubtful
    assert done.returncode == (1 if doubtful else 0), done.stdout + done.stderr


def test_ctrl_c_says_how_to_continue_and_leaves_nothing_in_doubt(mailing: Mailing) -> None:
    mailing.write_list(1000)
    process = mailing.start("--state", str(mailing.folder / "state"))
    wait_until(lambda: len(mailing.server.emails) > 50, timeout=60)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "0 in doubt" in output
    assert f"The progress is kept in {mailing.folder / 'state'}" in errors
    assert "1000 sent" in mailing.run("--state", str(mailing.folder / "state")).stdout
    assert set(mailing.server.counts.values()) == {1}


def test_refused_recipients_are_listed_with_the_servers_words(mailing: Mailing) -> None:
    mailing.server.refuse["reader2@example.org"] = "550 5.1.1 no such user"
    done = mailing.run()
    assert done.returncode == 1
    assert "failed: reader2@example.org" in done.stdout
    assert "550 5.1.1 no such user" in done.stdout
    assert "2 sent, 1 failed" in done.stdout


def test_a_dry_run_shows_recipients_and_email_and_sends_nothing(mailing: Mailing) -> None:
    done = mailing.run("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "3 recipients; the first is reader1@example.org" in done.stdout
    assert "Новости для Имя1" in done.stdout
    assert "Здравствуйте, Имя1" in done.stdout
    assert not mailing.server.emails
    assert mailing.left_files() == []


def test_a_dry_run_shows_the_very_email_that_is_sent_then(mailing: Mailing) -> None:
    mailing.html.write_text(
        "<p>{{ sender.name }} {{ list.name }} {{ campaign.name }} <a href='https://a.test/{{ city }}'>x</a>",
        "utf-8",
    )
    shown = mailing.run("--dry-run").stdout
    assert mailing.run().returncode == 0
    (sent,) = mailing.server.to("reader1@example.org")
    for name, value in sent.message.items():
        if name not in ("Date", "Message-ID"):  # generated when a delivery is planned
            assert f"\n{name}: {value}\n" in shown
    assert "Message-ID: <" in shown
    for kind in ("plain", "html"):
        assert sent.part(kind).replace("\r\n", "\n").strip() in shown
    assert "mailto:anna@example.com?subject=unsubscribe" in shown


def test_what_the_check_finds_is_said_on_standard_error(mailing: Mailing) -> None:
    mailing.html.write_text("<p>Dear *|FNAME|* {first_name} <a href='www.a.test/{{ city }}'>x</a></p>")
    subject = ("--subject", "hi %FNAME%, {{ first_name }}")
    shown = mailing.run("--dry-run", *subject)
    assert (shown.returncode, len(mailing.server.emails)) == (0, 0)
    for said in ("“*|FNAME|*”", "“{first_name}”", "“%FNAME%”", "Did you mean https://www.a.test/{{ city }}?"):
        assert said in shown.stderr
        assert said not in shown.stdout
    sent = mailing.run(*subject)
    assert (sent.returncode, sent.stderr) == (0, shown.stderr)
    assert "Warning" not in mailing.run(*subject).stderr  # nothing is sent any more


def test_an_uncertain_encoding_is_said(mailing: Mailing) -> None:
    mailing.subscribers.write_bytes("email;name;city\na@example.org;Jürgen;Köln\n".encode("mac_roman"))
    done = mailing.run("--dry-run")
    assert "The encoding of the file is not certain. It was read as" in done.stderr


def test_an_unknown_variable_gets_its_did_you_mean(mailing: Mailing) -> None:
    for written in ("FNAME", "frist"):
        done = mailing.run("--dry-run", "--subject", f"{{{{ {written} }}}}")
        assert done.returncode == 2
        assert "Did you mean “first_name”?" in done.stderr, written


def test_one_recipient_is_named(mailing: Mailing) -> None:
    mailing.write_list(1)
    assert "To reader1@example.org. The email would be" in mailing.run("--dry-run").stdout


def test_variables_come_from_the_command_line_too(mailing: Mailing) -> None:
    mailing.html.write_text("<p>{{ greeting }}, {{ first_name }}</p>")
    assert mailing.run("--set", "greeting=Bonjour").returncode == 0
    assert "Bonjour, Имя1" in mailing.server.to("reader1@example.org")[0].part()


def test_it_waits_for_its_time(mailing: Mailing) -> None:
    moment = datetime.now().astimezone() + timedelta(seconds=6)
    process = mailing.start("--at", moment.isoformat())
    time.sleep(max(0.0, (moment - datetime.now().astimezone()).total_seconds() - 0.5))
    assert not mailing.server.emails
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(mailing.server.emails) == 3


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--at", "yesterday"), "use a time such as"),
        (("--at", "2020-01-01T10:00:00+00:00"), "time has passed"),
        (("--set", "nonsense"), "does not look like name=value"),
        (("--smtp", "http://127.0.0.1"), "use an address such as smtp+starttls://"),
        (("--smtp", "smtp://anna:secret@127.0.0.1"), "other users of this machine can read"),
        (("--from", "nobody"), "use an address such as"),
        (("--subject", "{{ nobody_has_this }}"), "nobody_has_this"),
        (("--subject", "{{ first_name"), "subject"),
        (("--smtp", "smtp://127.0.0.1:1"), ""),
    ],
)
def test_bad_input_is_said_in_a_sentence_and_nothing_is_sent(
    mailing: Mailing, more: tuple[str, ...], sentence: str
) -> None:
    done = mailing.run(*more)
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert not mailing.server.emails
    assert mailing.left_files() == []


def test_a_wrong_password_is_said_with_the_servers_words_and_nothing_is_kept(mailing: Mailing) -> None:
    mailing.server.passwords["anna@example.com"] = "another"
    done = mailing.run()
    assert done.returncode == 2
    assert done.stderr.count("535") == 1
    assert mailing.left_files() == []


def test_bad_rows_are_listed_and_nothing_is_sent_unless_they_may_be_left_out(mailing: Mailing) -> None:
    mailing.write_list(2, "no address here;Ольга;Тверь", "two@example.org three@example.org;Пётр;Омск")
    done = mailing.run()
    assert done.returncode == 2
    assert "row 4:" in done.stderr
    assert "row 5:" in done.stderr
    assert not mailing.server.emails
    assert mailing.left_files() == []
    assert mailing.run("--skip-bad-rows").returncode == 0
    assert len(mailing.server.emails) == 2


def test_a_state_of_another_mailing_is_not_touched(mailing: Mailing) -> None:
    state = ("--state", str(mailing.folder / "state"))
    assert mailing.run(*state).returncode == 0
    mailing.html.write_text("<p>Another letter</p>")
    done = mailing.run(*state)
    assert done.returncode == 2
    assert "another campaign" in done.stderr
    assert len(mailing.server.emails) == 3
