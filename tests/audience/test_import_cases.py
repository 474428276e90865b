"""Files of other programs with the expected result of each: cases from public reports."""

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import inspect, select

from mailganer.audience import (
    apply_import,
    erase_subscriber,
    import_preview,
    note_sentence,
    rejects_csv,
    resubscribe,
    run_import,
    set_mapping,
    subscribers_csv,
    suppress,
    undo_import,
    unsubscribe,
)
from mailganer.audience.imports import line_encodings
from mailganer.migrations import _config, migrate
from mailganer.models import Import, ImportStatus, Subscriber, SubscriberStatus, Suppression

from .test_garbled import garbled

CASES = Path(__file__).parent / "cases"
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def bring(bringer):
    """``bring("name.csv")`` imports one of the cases."""

    def bring(name: str, **options):
        return bringer.bring((CASES / name).read_bytes(), filename=name, **options)

    return bring


def statuses(bringer) -> dict[str, str]:
    return {
        key.partition("@")[0]: subscriber.status.value for key, subscriber in bringer.subscribers().items()
    }


def columns_of(job: Import) -> dict[str, str]:
    return {number: field for number, field in job.mapping.items() if number.isdecimal()}


def noted(job: Import) -> list[tuple[int, str]]:
    return [(row, code) for row, code, _detail in job.notes.get("rows", [])]


# The column of addresses


def test_the_column_with_most_addresses_is_taken(bringer, bring):
    job = bring("google_real.csv")
    assert job.mapping["6"] == "email"
    assert (job.added, job.rejected) == (42, 0)
    assert noted(job) == [(42, "address_first")]
    assert "gga@example.org" in bringer.subscribers()
    assert bringer.subscribers()["gg0@example.org"].first_name == "P0"


@pytest.mark.parametrize(
    ("content", "column"),
    [
        ("Email,Manager email\n,b@example.org\na@example.org,b@example.org\n", "0"),
        ("Manager email,Contact\nb@example.org,a@example.org\nb@example.org,c@example.org\n", "1"),
        ("Mail,Work\nyes,a@example.org\nno,b@example.org\n", "1"),
        ("E-mail Address,E-mail 2 Address\na@example.org,\nb@example.org,c@example.org\n", "0"),
        ("email,email 2\n,a@example.org\n,b@example.org\nd@example.org,c@example.org\n", "1"),
    ],
)
def test_a_column_of_addresses_is_one_by_its_cells(bringer, content, column):
    assert bringer.bring(content).mapping[column] == "email"


@pytest.mark.parametrize(
    ("content", "expected", "note"),
    [
        ("Email,Email 2\na@e.org,x@e.org\n,b@e.org\nn/a,c@e.org\nd@e.org,\n", "abcd", "Email 2"),
        ("Email,Work email,Home email\na@e.org,,\n,,b@e.org\nbad@,c@,c@e.org\n", "abc", "Home email"),
        ("Почта,Рабочая почта\na@e.org,\n -,b@e.org\n", "ab", "Рабочая почта"),
        ("Email,Private\na@e.org,x@e.org\n,<b@e.org>\n", "ab", "Private"),
        ("a@e.org;1\n;b@e.org\nb@;c@e.org\nd@e.org;\n", "abcd", "2"),
        ("Email,Manager email\na@e.org,x@e.org\n,x@e.org\n", "a", ""),
        ("Email,Created by\na@e.org,x@e.org\n,x@e.org\n", "a", ""),
        ("Email,Sender email\na@e.org,x@e.org\n,x@e.org\n", "a", ""),
        ("Почта,Почта друга\na@e.org,x@e.org\n,x@e.org\n", "a", ""),
        ("Рабочий email,Другой email\na@e.org,\n,b@e.org\n", "ab", "Другой email"),
        ("Email,Notes\na@e.org,\nc@e.org,nice\n,x@e.org\n", "ac", ""),
    ],
)
@SQLITE
def test_another_column_of_addresses_helps_where_the_chosen_one_has_none(bringer, content, expected, note):
    job = bringer.bring(content)
    assert job.mapping["0"] == "email"
    assert "".join(key[0] for key in bringer.subscribers()) == expected
    details = [detail for _row, code, detail in job.notes.get("rows", []) if code == "address_other"]
    assert set(details) == ({note} if note else set())


@SQLITE
def test_a_column_that_the_user_left_out_gives_no_address(bringer):
    job = bringer.bring("Email,Email 2\na@e.org,\n,b@e.org\n", mapping={"Email": "email", "Email 2": ""})
    assert (job.added, bringer.rejects(job)) == (1, [(3, "address_missing")])
    looked = bringer.bring("Email,Email 2\nc@e.org,\n,d@e.org\nx@,y@y@y.org\n", apply=False)
    assert (looked.added, bringer.rejects(looked)) == (2, [(4, "address_domain")])
    with bringer.sessions.begin() as session:
        set_mapping(session, session.get(Import, looked.id), {"0": "town", "1": "email"})
    again = bringer.run(looked.id)
    assert (again.added, [row for _row, _code, row in again.notes["rows"]]) == (2, ["Email"])


# Notes and titles above the headings


def test_notes_above_the_headings_are_passed_over(bringer, bring):
    job = bring("linkedin.csv")
    assert (job.added, bringer.rejects(job)) == (2, [(6, "address_missing")])
    eva = bringer.subscribers()["li3@example.org"]
    assert (eva.first_name, eva.last_name) == ("Éva", "Kovács, PhD")
    assert eva.fields["company"] == "Foo, Inc."


def test_a_title_in_one_cell_is_passed_over(bringer, bring):
    assert bring("title_one_line.csv").added == 2
    assert {subscriber.first_name for subscriber in bringer.subscribers().values()} == {"Анна", "Пётр"}


@pytest.mark.parametrize("rows", [1, 2, 15, 60])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_number_of_notes_is_passed_over(bringer, rows, delimiter):
    notes = "".join(f"Note {number}\n" for number in range(rows))
    content = f"{notes}\nname{delimiter}email\nAnna{delimiter}a@example.org\n"
    job = bringer.bring(content)
    assert (job.rows, job.added, job.columns) == (1, 1, ["name", "email"])


@pytest.mark.parametrize("mapping", [{"Куда писать": "email"}, {"email": "Куда писать"}])
def test_notes_are_passed_over_with_a_mapping_that_names_the_heading(bringer, mapping):
    content = "Отчёт; май\nОтдел; продажи\n\nКто;Куда писать\nАнна;a@example.org\n"
    job = bringer.bring(content, mapping=mapping)
    assert (job.added, job.columns) == (1, ["Кто", "Куда писать"])
    assert bringer.subscribers()["a@example.org"].fields == {"kto": "Анна"}


def test_a_title_above_rows_without_headings_is_skipped(bringer):
    job = bringer.bring("Клиенты магазина\nАнна;a@example.org\nПётр;b@example.org\n")
    assert (job.header, job.added, job.rows) == (False, 2, 2)


# Birthdays


def test_birthdays_are_read_where_they_can_be_and_cost_no_one_their_place(bringer, bring):
    job = bring("bday_dash.csv")
    subscribers = bringer.subscribers()
    assert (job.added, job.rejected) == (14, 0)
    yearless = date(1604, 5, 14)
    assert {key.partition("@")[0]: subscriber.birthday for key, subscriber in subscribers.items()} == {
        **dict.fromkeys(("bd1", "bd2", "bd3", "bd4"), yearless),
        **dict.fromkeys(("bd5", "bd6", "bd7", "bd8", "bd9", "bdc"), date(1990, 5, 14)),
        "bda": date(1604, 2, 29),
        "bdb": date(1900, 1, 1),
        "bdd": None,
        "bde": None,
    }
    assert job.notes["rows"] == [[14, "birthday", "/  /"], [15, "birthday", "не указан"]]
    assert "не указан" in note_sentence("birthday", "не указан").interpolate()


def test_the_none_of_outlook_is_no_birthday(bringer, bring):
    job = bring("outlook_bday.csv")
    assert (job.added, job.rejected, job.notes) == (5, 0, {})
    assert {subscriber.birthday for subscriber in bringer.subscribers().values()} == {None}


def test_an_order_that_the_column_does_not_give_away_is_asked_for(bringer, bring, session):
    job = bring("yearless_us.csv", apply=False)
    assert (job.status, job.added, job.rejected) == (ImportStatus.ready, 2, 0)
    assert noted(job) == [(2, "birthday_unclear"), (3, "birthday_unclear")]
    with bringer.sessions.begin() as fresh:
        set_mapping(fresh, fresh.get(Import, job.id), {"birthday": "birthday_month_first"})
    job = bringer.run(job.id)
    assert (job.added, job.notes) == (2, {})


def test_the_order_is_decided_by_rows_far_down_as_well(bringer):
    rows = "".join(f"r{number}@example.org,05/06\n" for number in range(300))
    job = bringer.bring(f"email,birthday\n{rows}last@example.org,05/14\n")
    assert job.mapping["1"] == "birthday_month_first"
    assert bringer.subscribers()["r0@example.org"].birthday == date(1604, 5, 6)


def test_a_birthday_in_three_columns_is_put_together(bringer):
    job = bringer.bring(
        "First Name,Primary Email,Birth Year,Birth Month,Birth Day\n"
        "Anna,a@example.org,1990,5,14\nBob,b@example.org,,May,14\nCy,c@example.org,,,\nDi,d@example.org,1990,2,31\n"
    )
    found = {key[0]: subscriber.birthday for key, subscriber in bringer.subscribers().items()}
    assert found == {"a": date(1990, 5, 14), "b": date(1604, 5, 14), "c": None, "d": None}
    assert noted(job) == [(5, "birthday")]
    assert bringer.subscribers()["a@example.org"].fields == {}


# Addresses


def test_addresses_are_taken_out_of_what_stands_around_them(bringer, bring):
    job = bring("angle.csv")
    assert (job.added, job.rejected) == (5, 0)
    assert sorted(bringer.subscribers()) == [f"ang{number}@example.org" for number in range(1, 6)]
    assert job.notes["counts"] == {"address_repaired": 5}
    assert bringer.subscribers()["ang1@example.org"].first_name == "Anna"


def test_a_name_beside_an_address_is_the_name_of_who_has_no_other(bringer):
    bringer.bring(
        'email\n"Gray, Anna <a@example.org>"\n<b@example.org>\nИванова Анна <mailto:c@example.org>\n'
    )
    names = {
        key[0]: (subscriber.first_name, subscriber.last_name)
        for key, subscriber in bringer.subscribers().items()
    }
    assert names == {"a": ("Anna", "Gray"), "b": ("", ""), "c": ("Иванова", "Анна")}


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("client@@example.org", "address_ats"),
        ("client@ @example.org", "address_ats"),
        ("a@example.org / b@example.org", "address_several"),
        ("<a@example.org>, <b@example.org>", "address_several"),
    ],
)
def test_the_reason_of_a_rejected_address_is_true(bringer, cell, code):
    job = bringer.bring(f'email;x\ngood@example.org;\n"{cell}";\n')
    assert bringer.rejects(job) == [(3, code)]


# Names


@pytest.mark.parametrize(
    ("heading", "cell", "first_name", "last_name"),
    [
        ("ФИО", "John Smith", "John", "Smith"),
        ("ФИО", "Иванова Анна", "Анна", "Иванова"),
        ("Last name first name", "Smith John", "John", "Smith"),
        ("Name", "Smith, John", "John", "Smith"),
        ("Name", "John Smith, PhD", "John", "Smith, PhD"),
        ("Name", "Smith, PhD", "Smith,", "PhD"),
    ],
)
def test_full_names_are_split(bringer, heading, cell, first_name, last_name):
    bringer.bring(f"email;{heading}\na@example.org;{cell}\n")
    anna = bringer.subscribers()["a@example.org"]
    assert (anna.first_name, anna.last_name) == (first_name, last_name)


# Encodings


def test_a_row_in_another_encoding_is_rejected_in_a_small_file_too(bringer, bring):
    job = bring("mixed_encodings.csv")
    assert bringer.rejects(job) == [(3, "encoding")]
    assert {subscriber.first_name for subscriber in bringer.subscribers().values()} == {"Иван", "Анна"}


@pytest.mark.parametrize("encoding", ["cp1251", "cp1252", "latin-1"])
@SQLITE
def test_a_file_that_was_garbled_before_is_repaired_with_a_note(bringer, encoding):
    right = (
        "Почта;Имя;Фамилия;Город\na@e.org;Иван;Щукин;Рязань\nb@e.org;José;Müller;Łódź\nc@e.org;Ann;Gray;\n"
    )
    job = bringer.bring(garbled(right, encoding))
    assert columns_of(job) == {"0": "email", "1": "first_name", "2": "last_name", "3": "gorod"}
    assert noted(job) == [(2, "letters_repaired"), (3, "letters_repaired")]
    shown = [
        (each.first_name, each.last_name, each.fields.get("gorod")) for each in bringer.subscribers().values()
    ]
    assert shown == [("Иван", "Щукин", "Рязань"), ("José", "Müller", "Łódź"), ("Ann", "Gray", None)]


@SQLITE
def test_a_row_that_is_garbled_beyond_repair_is_rejected(bringer):
    job = bringer.bring("email;name\na@e.org;Ð?Ð½Ð½Ð°\nb@e.org;Анна\nc@e.org;JosÃ© Müller\n")
    assert (job.added, bringer.rejects(job)) == (1, [(2, "garbled"), (4, "garbled")])


def test_a_utf_8_row_in_a_file_of_another_encoding_is_rejected(bringer):
    rows = "".join(f"r{number}@example.org;Борис\n" for number in range(5)).encode("cp1251")
    job = bringer.bring("email;имя\n".encode("cp1251") + rows + "x@example.org;Анна\n".encode())
    assert job.encoding == "cp1251"
    assert bringer.rejects(job) == [(7, "encoding")]
    assert {subscriber.first_name for subscriber in bringer.subscribers().values()} == {"Борис"}


@pytest.mark.parametrize("encoding", ["cp1251", "koi8_r", "cp866"])
def test_every_russian_name_is_read_in_its_encoding(encoding):
    names = ["Пётр", "Ёлка", "Яёва", "Пё", "Юрий", "Рада", "Вёрстка", "Эльёр"]
    sample = "\n".join(f"{name};{name}" for name in names).encode(encoding)
    assert line_encodings.guess_in_lines(sample).encoding == encoding


def test_a_quoted_cell_behind_a_blank_is_a_quoted_cell(bringer):
    rows = (
        'email, "first_name", settings, note\n'
        'a@example.org, "Anna", "{""a"": true, ""b"": 1}", "x" \n'
        'b@example.org,Boris,"kept as, ""it"" is", say "yes"\n'
        'c@example.org, "Carl" Gray, "not closed,x\n'
    )
    job = bringer.bring(rows)
    assert (job.added, job.rejected) == (3, 0)
    subscribers = {key[0]: subscriber for key, subscriber in bringer.subscribers().items()}
    assert subscribers["a"].first_name == "Anna"
    assert subscribers["a"].fields == {"settings": '{"a": true, "b": 1}', "note": "x"}
    assert subscribers["b"].fields == {"settings": 'kept as, "it" is', "note": 'say "yes"'}
    assert subscribers["c"].fields == {"settings": '"not closed', "note": "x"}


@SQLITE
def test_quotes_that_a_backslash_escapes_belong_to_the_cell(bringer):
    rows = [
        "email,name,path,json",
        r'a@example.org,"A \"x\" B","C:\\dir \"new\"",""',
        r'b@example.org,"Boris","C:\dir\","{""q"": ""a\""b""}"',
    ]
    job = bringer.bring("\n".join(rows))
    assert (job.added, job.rejected) == (2, 0)
    subscribers = {key[0]: subscriber for key, subscriber in bringer.subscribers().items()}
    assert (subscribers["a"].first_name, subscribers["a"].last_name) == ("A", '"x" B')
    assert subscribers["a"].fields == {"path": r'C:\dir "new"'}
    assert subscribers["b"].fields == {"path": "C:\\dir\\", "json": r'{"q": "a\"b"}'}


def test_a_row_in_another_encoding_is_offered_as_it_was_meant(bringer):
    rows = "email;first_name\na@example.org;Иван\n".encode() + "b@example.org;Пётр\n".encode("cp1251")
    rows += "c@example.org;Zoë\n".encode("cp1252") + "d@example.org;Анна\n".encode()
    job = bringer.bring(rows)
    assert (job.added, job.rejected) == (2, 2)
    offered = b"".join(rejects_csv(bringer.sessions, job, str)).decode("utf-8-sig").splitlines()
    assert [row.rpartition(",")[2].strip('"') for row in offered[1:]] == ["Пётр", "Zoë"]


# Statuses from other products


def test_an_export_of_another_installation_keeps_who_left(bringer, bring, session):
    job = bring("own_export_elsewhere.csv")
    assert (job.added, job.notes["left"]) == (3, 2)
    assert statuses(bringer) == {"own1": "active", "own2": "unsubscribed", "own3": "bounced"}
    assert bringer.subscribers()["own2@example.org"].fields == {}
    with bringer.sessions.begin() as fresh:
        for subscriber in fresh.scalars(select(Subscriber)):
            erase_subscriber(fresh, subscriber)
    again = bring("own_export_elsewhere.csv")
    assert (again.added, bringer.rejects(again)) == (1, [(3, "suppressed"), (4, "suppressed")])


def test_a_file_of_unsubscribed_addresses_activates_no_subscriber(bringer, bring):
    assert bring("mailchimp_unsub.csv").added == 1
    assert statuses(bringer) == {"un1": "unsubscribed"}


@pytest.mark.parametrize(
    ("heading", "cells", "expected"),
    [
        ("status", "enabled blocklisted disabled", "active unsubscribed unsubscribed"),
        ("Accepts Email Marketing", "yes no -", "active unsubscribed active"),
        (
            "Email Marketing Consent",
            "SUBSCRIBED UNSUBSCRIBED NEVER_SUBSCRIBED",
            "active unsubscribed unsubscribed",
        ),
        ("Status", "Subscribed Cleaned Unconfirmed", "active bounced unconfirmed"),
        ("Unsubscribed", "true false 2024-05-01", "unsubscribed active unsubscribed"),
        ("CLEAN_TIME", "2024-05-01 2024-05-01 2024-05-01", "bounced bounced bounced"),
        ("Статус подписки", "активен отписан жалоба", "active unsubscribed complained"),
        ("Unsubscribe date", "- 2024-01-01 0000-00-00", "active unsubscribed active"),
        ("Email disabled?", "false true no", "active unsubscribed active"),
        ("email_availability", "available unreachable temp_unreachable", "active bounced active"),
        ("Email Suppressions", '[] ["HARD_BOUNCE"] ["UNSUBSCRIBE"]', "active bounced unsubscribed"),
        ("Bounced Hard", "0 1 0", "active bounced active"),
        ("Статус", "Подписан Отписался Недействителен", "active unsubscribed bounced"),
        ("status", "active unsubscribed validating", "active unsubscribed unconfirmed"),
        ("Email permission status", "Implied Unsubscribed Express", "active unsubscribed active"),
        ("status", "5.1.1 5.2.1 5.0.0", "bounced bounced bounced"),
        ("Is the email of this user confirmed", "1 0 1", "active unconfirmed active"),
        ("Is this subscriber blacklisted?", "0 1 0", "active unsubscribed active"),
        ("Email confirmed", "yes no 2024-05-01", "active unconfirmed active"),
        ("Subscription status", "1 2 3", "active unsubscribed bounced"),
    ],
)
def test_the_words_of_other_programs_are_understood(bringer, heading, cells, expected):
    rows = "".join(f"{key}@example.org;{cell}\n" for key, cell in zip("abc", cells.split(), strict=True))
    job = bringer.bring(f"email;{heading}\n{rows}")
    assert list(statuses(bringer).values()) == expected.split(), job.mapping


@pytest.mark.parametrize("heading", ["Status", "State", "Order status", "Accepts SMS Marketing"])
def test_a_column_of_something_else_is_a_field(bringer, heading):
    bringer.bring(f"email;{heading}\na@example.org;gold\nb@example.org;no\n")
    assert statuses(bringer) == {"a": "active", "b": "active"}
    assert list(bringer.subscribers()["a@example.org"].fields.values()) == ["gold"]


@SQLITE
def test_the_columns_of_phplist_say_who_gets_no_emails(bringer):
    job = bringer.bring(
        "email,confirmed,blacklisted,optedin,bouncecount\n"
        "a@example.org,1,0,0,0\nb@example.org,1,1,1,0\nc@example.org,0,0,0,0\nd@example.org,0,1,0,0\n"
    )
    expected = {"a": "active", "b": "unsubscribed", "c": "unconfirmed", "d": "unsubscribed"}
    assert (statuses(bringer), noted(job)) == (expected, [])


@SQLITE
@pytest.mark.parametrize(
    ("heading", "cells"),
    [
        ("STATUS", "1 2 3 4"),
        ("newsletter", "1 2 3"),
        ("status", "gold - no"),
        ("confirmed", "yes no -"),
        ("Status", "4.2.2 4.2.2 -"),
    ],
)
def test_a_column_of_states_that_is_not_understood_is_noted_once(bringer, heading, cells):
    rows = "".join(f"r{n}@example.org;{cell.strip('-')}\n" for n, cell in enumerate(cells.split()))
    job = bringer.bring(f"email;{heading}\n{rows}")
    assert set(statuses(bringer).values()) == {"active"}
    assert columns_of(job)["1"] == heading.lower()
    assert job.notes["rows"] == [[2, "status_column", heading]]
    assert f"The column “{heading}” may show" in note_sentence("status_column", heading).interpolate()


@SQLITE
def test_a_column_that_is_chosen_to_be_the_status_may_hold_the_numbers_of_mailtrain(bringer):
    rows = "".join(f"r{n}@example.org;{n}\n" for n in range(1, 5))
    job = bringer.bring(f"EMAIL;STATUS\n{rows}", apply=False)
    assert noted(job) == [(2, "status_column")]
    with bringer.sessions.begin() as fresh:
        set_mapping(fresh, fresh.get(Import, job.id), {"1": "subscription_status"})
        apply_import(fresh, fresh.get(Import, job.id))
    assert bringer.run(job.id).notes == {"counts": {}, "rows": [], "left": 3}
    assert statuses(bringer) == {
        "r1": "active",
        "r2": "unsubscribed",
        "r3": "bounced",
        "r4": "complained",
    }


@SQLITE
@pytest.mark.parametrize("heading", ["unsubscribed_at", "Unsubscribed", "Bounced", "Дата отписки"])
def test_a_heading_that_says_who_left_counts_when_few_have(bringer, heading):
    rows = "".join(f"r{number}@example.org;\n" for number in range(300))
    job = bringer.bring(f"email;{heading}\n{rows}x@example.org;2024-05-01\n")
    assert (job.mapping["1"], job.notes["left"]) == ("subscription_status", 1)
    assert statuses(bringer)["x"] in ("unsubscribed", "bounced")
    assert statuses(bringer)["r0"] == "active"


@SQLITE
@pytest.mark.parametrize(
    ("heading", "cells", "expected"),
    [
        ("status", "active,unreachable,unsubscribed", "active active unsubscribed"),
        ("Email status", "active,unsubscribed,VIP", "active unsubscribed active"),
        (
            "Статус",
            "Активный,Отписался от рассылки,Временно недоступен",
            "active unsubscribed active",
        ),
        ("Status", "opened,bounced,delivered", "active bounced active"),
    ],
)
def test_an_unknown_word_does_not_hide_who_left(bringer, heading, cells, expected):
    words = cells.split(",")
    rows = "".join(f"{key}@example.org;{word}\n" for key, word in zip("abc", words, strict=True))
    job = bringer.bring(f"email;{heading}\n{rows}")
    assert list(statuses(bringer).values()) == expected.split()
    unknown = next(word for word in words if word in ("unreachable", "VIP", "Временно недоступен", "opened"))
    assert job.notes["rows"] == [[words.index(unknown) + 2, "status", unknown]]


@SQLITE
@pytest.mark.parametrize("heading", ["Status", "Статус"])
@pytest.mark.parametrize(
    "cells",
    [
        "cancelled,delivered,sent",
        "Order cancelled,sent,-",
        "Canceled,shipped,Delivered",
        "order_cancelled,sent,new",
        "новый,отказ,Возврат",
    ],
)
def test_the_status_of_an_order_unsubscribes_no_subscriber(bringer, heading, cells):
    rows = "".join(f"{key}@example.org;{cell}\n" for key, cell in zip("abc", cells.split(","), strict=True))
    job = bringer.bring(f"email;{heading}\n{rows}")
    assert set(statuses(bringer).values()) == {"active"}
    assert job.mapping["1"] == "status"


def test_an_unknown_word_far_down_is_noted(bringer):
    rows = "".join(f"r{number}@example.org;subscribed\n" for number in range(250))
    job = bringer.bring(f"email;status\n{rows}x@example.org;golden\n")
    assert job.notes["rows"] == [[252, "status", "golden"]]
    assert set(statuses(bringer).values()) == {"active"}


def far_down(heading: str, first: str, *later: str) -> str:
    """A file of 250 rows with ``first`` in the column, and more of them below."""
    cells = [first] * 250 + list(later)
    return f"email;{heading}\n" + "".join(
        f"r{number}@example.org;{cell}\n" for number, cell in enumerate(cells)
    )


@pytest.mark.parametrize(
    ("heading", "first", "later", "left"),
    [
        ("Статус", "", ["отписан", "активен"], 1),
        ("Email status", "", ["subscribed", "cleaned", "weird"], 1),
        ("status", "", ["Unsubscribed", "active"], 1),
        ("status", "gold", ["silver", "unsubscribed"], 1),
        ("Email status", "ok", ["fine", "hard bounce"], 1),
        ("subscribed", "", ["yes", "no", "no"], 2),
        ("status", "", ["gold", "silver"], None),
        ("status", "", ["paid", "cancelled"], None),
        ("Status", "", ["delivered", "cancelled"], None),
        ("status", "gold", ["cancelled", "no"], None),
    ],
)
@SQLITE
def test_evidence_far_down_in_the_file_counts(bringer, heading, first, later, left):
    content = far_down(heading, first, *later)
    foreseen = bringer.bring(content, apply=False)
    field = "status" if heading.lower() == "status" else heading.lower().replace(" ", "_")
    assert columns_of(foreseen) == {"0": "email", "1": "subscription_status" if left else field}
    assert (foreseen.rows, foreseen.added) == (len(later) + 250,) * 2
    job = bringer.bring(content)
    assert (job.added, job.mapping) == (foreseen.added, foreseen.mapping)
    for each in (foreseen, job):
        assert (each.notes["left"], "status_column" in each.notes["counts"]) == (left or 0, left is None)
    assert sum(status != "active" for status in statuses(bringer).values()) == (left or 0)


@pytest.mark.parametrize("field", ["status", ""])
@SQLITE
def test_the_users_choice_for_a_column_is_not_overruled_by_the_rest_of_the_file(bringer, field):
    content = far_down("status", "", "unsubscribed", "active")
    named = bringer.bring(content, mapping={"email": "email", "status": field})
    assert (named.mapping["1"], named.notes) == (field, {})
    looked = bringer.bring(content, apply=False)
    with bringer.sessions.begin() as session:
        set_mapping(session, session.get(Import, looked.id), {"1": field})
    assert bringer.run(looked.id).mapping == {"0": "email", "1": field}


@SQLITE
def test_evidence_is_kept_when_reading_is_interrupted(bringer, monkeypatch):
    monkeypatch.setattr("mailganer.audience.imports.file_batches.READ_AT_ONCE", 100)
    content = far_down("email status", "", "unsubscribed", *[""] * 100)
    started = bringer.start(content)
    rounds = 0
    while not run_import(bringer.sessions, bringer.settings, started, now=lambda: bringer.now, seconds=0):
        rounds += 1
    assert rounds > 3
    job = bringer.job(started)
    assert (job.status, job.notes["left"]) == (ImportStatus.done, 1)
    assert columns_of(job) == {"0": "email", "1": "subscription_status"}


def test_who_is_active_here_and_left_elsewhere_leaves_here_and_undoing_brings_them_back(bringer, now):
    bringer.bring("email\na@example.org\nb@example.org\nc@example.org\n")
    with bringer.sessions.begin() as session:
        gone = session.scalars(select(Subscriber).where(Subscriber.email == "c@example.org")).one()
        unsubscribe(session, gone, reason="link", now=now)
    content = "email;status\na@example.org;unsubscribed\nb@example.org;active\nc@example.org;bounced\n"
    content += "d@example.org;complained\nc@example.org;active\n"
    job = bringer.bring(content)
    assert (job.added, job.updated, job.notes["left"]) == (1, 1, 2)
    assert statuses(bringer) == {"a": "unsubscribed", "b": "active", "c": "unsubscribed", "d": "complained"}
    with bringer.sessions.begin() as session:
        undo_import(session, session.get(Import, job.id), now)
    assert statuses(bringer) == {"a": "active", "b": "active", "c": "unsubscribed"}
    with bringer.sessions() as session:
        assert len(session.scalars(select(Suppression)).all()) == 1
    assert bringer.bring("email\nd@example.org\n").added == 1


@SQLITE
@pytest.mark.parametrize("known", [True, False])
def test_who_left_by_a_file_and_then_here_stays_away_when_the_file_is_undone(bringer, now, known):
    if known:
        bringer.bring("email\na@example.org\n")
    job = bringer.bring("email;status\na@example.org;unsubscribed\n")
    later = now + timedelta(minutes=1)
    with bringer.sessions.begin() as session:
        anna = session.scalars(select(Subscriber)).one()
        assert unsubscribe(session, anna, reason="link", now=later)
        assert not unsubscribe(session, anna, reason="link", now=later)
        assert (anna.status_reason, anna.status_at) == ("link", later)
    with bringer.sessions.begin() as session:
        undo_import(session, session.get(Import, job.id), later)
    assert statuses(bringer) == ({"a": "unsubscribed"} if known else {})
    with bringer.sessions() as session:
        kept = session.scalars(select(Suppression)).one()
        assert (kept.reason, kept.created_at) == ("link", later)
    again = bringer.bring("email\na@example.org\n")
    assert again.added == 0
    assert bringer.rejects(again) == ([] if known else [(2, "suppressed")])


@pytest.mark.parametrize("before", ["nobody", "active", "bounced"])
@pytest.mark.parametrize(
    ("files", "undone", "between"),
    [
        (("unsubscribed", "unsubscribed"), (0, 1), ("unsubscribed",)),
        (("unsubscribed", "unsubscribed"), (1, 0), ("unsubscribed",)),
        (("unsubscribed", "cleaned"), (0, 1), ("bounced",)),
        (("unsubscribed", "cleaned"), (1, 0), ("unsubscribed",)),
        (("cleaned", "unsubscribed"), (0, 1), ("unsubscribed",)),
        (("cleaned", "unsubscribed"), (1, 0), ("bounced",)),
        (("unsubscribed", "cleaned", "spam"), (0, 2, 1), ("complained", "bounced")),
        (("unsubscribed", "cleaned", "unsubscribed"), (0, 2, 1), ("unsubscribed", "bounced")),
        (("spam", "cleaned", "unsubscribed"), (1, 0, 2), ("complained", "unsubscribed")),
        (("unsubscribed", "active", "cleaned"), (0, 1, 2), ("bounced", "bounced")),
    ],
)
@SQLITE
def test_who_left_by_several_files_stays_away_until_all_are_undone(
    bringer, now, before, files, undone, between
):
    moment = iter(now + timedelta(minutes=minute) for minute in range(1, 20))
    if before != "nobody":
        bringer.bring("email;first name\na@example.org;Ann\n")
    if before == "bounced":
        with bringer.sessions.begin() as session:
            anna = session.scalars(select(Subscriber)).one()
            assert suppress(session, anna, SubscriberStatus.bounced, reason="550 unknown", now=next(moment))
    was = state_of(bringer)
    jobs = []
    for number, word in enumerate(files):
        bringer.now = next(moment)
        name = f"N{number}" if number != 1 else ""
        jobs.append(bringer.bring(f"email;first name;status\na@example.org;{name};{word}\n"))
    for number, expected in zip(undone, (*between, None), strict=True):
        with bringer.sessions.begin() as session:
            undo_import(session, session.get(Import, jobs[number].id), next(moment))
        if expected:
            assert statuses(bringer) == {"a": expected}
            with bringer.sessions() as session:
                assert session.scalars(select(Suppression.status)).one() == expected
    assert state_of(bringer) == was


def state_of(bringer) -> list[tuple[object, ...]]:
    """Return all data of subscribers and suppressions."""
    with bringer.sessions() as session:
        subscribers = session.execute(
            select(Subscriber.first_name, Subscriber.status, Subscriber.status_reason)
        )
        return [
            *map(tuple, subscribers),
            *map(tuple, session.execute(select(Suppression.status, Suppression.reason))),
        ]


@SQLITE
def test_what_a_file_said_before_a_subscriber_came_back_is_past(bringer, now):
    bringer.bring("email\na@example.org\n")
    content = "email;status\na@example.org;unsubscribed\n"
    first = bringer.bring(content)
    with bringer.sessions.begin() as session:
        resubscribe(session, session.scalars(select(Subscriber)).one(), now=now + timedelta(minutes=1))
    bringer.now = now + timedelta(minutes=2)
    second = bringer.bring(content)
    with bringer.sessions.begin() as session:
        undo_import(session, session.get(Import, second.id), now + timedelta(minutes=3))
    assert statuses(bringer) == {"a": "active"}
    with bringer.sessions.begin() as session:
        undo_import(session, session.get(Import, first.id), now + timedelta(minutes=4))
    assert statuses(bringer) == {"a": "active"}


def test_a_file_of_who_left_is_counted_once_however_often_it_says_so(bringer, monkeypatch, now):
    monkeypatch.setattr("mailganer.audience.imports.file_batches.AT_ONCE", 1)
    content = "email;first name;status\na@example.org;;unsubscribed\na@example.org;;unsubscribed\n"
    first = bringer.bring(content)
    second = bringer.bring(content.replace("\na@example.org;;", "\na@example.org;Anna;", 1))
    assert (first.added, first.unchanged, second.updated, second.unchanged) == (1, 1, 1, 1)
    for job in (first, second):
        assert statuses(bringer) == {"a": "unsubscribed"}
        with bringer.sessions.begin() as session:
            undo_import(session, session.get(Import, job.id), now)
    assert state_of(bringer) == []


def test_our_own_export_comes_back_as_it_was(bringer, now):
    bringer.bring("email\na@example.org\nb@example.org\n")
    with bringer.sessions.begin() as session:
        gone = session.scalars(select(Subscriber).where(Subscriber.email == "b@example.org")).one()
        unsubscribe(session, gone, reason="link", now=now)
    exported = b"".join(subscribers_csv(bringer.sessions, bringer.account.id))
    job = bringer.bring(exported)
    assert (job.added, job.updated, job.unchanged) == (0, 0, 2)
    assert Counter(statuses(bringer).values()) == {"active": 1, "unsubscribed": 1}


# All of them


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.glob("*.csv")))
def test_what_is_foreseen_is_what_happens(bringer, bring, name):
    foreseen = bring(name, apply=False)
    assert foreseen.status is ImportStatus.ready
    counts = (foreseen.rows, foreseen.added, foreseen.updated, foreseen.unchanged, foreseen.rejected)
    assert bringer.subscribers() == {}
    done = bring(name)
    assert (done.rows, done.added, done.updated, done.unchanged, done.rejected) == counts
    assert done.notes == foreseen.notes
    with bringer.sessions() as session:
        assert import_preview(session.get(Import, foreseen.id), bringer.settings.uploads).columns[0].cells
    json.dumps(done.notes)


def test_notes_can_be_taken_back_to_the_schema_before_them(engine):
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0007")
    assert "notes" not in {column["name"] for column in inspect(engine).get_columns("import")}
    migrate(engine)
    assert "notes" in {column["name"] for column in inspect(engine).get_columns("import")}
