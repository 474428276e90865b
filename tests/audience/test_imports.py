"""Imports into a list: imported rows, rejected rows with reasons, and undo."""

import csv
import io
from datetime import date, timedelta
from importlib.resources import files as files_of

import pytest
from pyramid.i18n import make_localizer
from sqlalchemy import select, update

from mailganer.audience import (
    add_subscriber,
    apply_import,
    due_imports,
    erase_subscriber,
    failure_sentence,
    import_preview,
    reject_sentence,
    rejects_csv,
    run_import,
    set_mapping,
    subscribers_csv,
    undo_import,
    unsubscribe,
)
from mailganer.audience.imports import file_batches, import_steps, plan_room, uploads
from mailganer.errors import Conflict, FileRefused, InputError, NotFound
from mailganer.models import (
    Account,
    Delivery,
    Import,
    ImportStatus,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
)

# Imported rows


def test_subscribers_are_imported_with_names_birthdays_and_variables(bringer):
    job = bringer.bring(
        "E-mail;Имя;Фамилия;Дата рождения;Город\n"
        "Anna@Example.com;Анна;Иванова;14.05.1990;Москва\n"
        "boris@example.com;Борис;;;\n"
    )
    assert (job.status, job.rows, job.added, job.rejected) == (ImportStatus.done, 2, 2, 0)
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.email, anna.first_name, anna.last_name) == ("Anna@Example.com", "Анна", "Иванова")
    assert anna.birthday == date(1990, 5, 14)
    assert anna.fields == {"gorod": "Москва"}
    assert bringer.subscribers()["boris@example.com"].fields == {}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251", "koi8-r", "cp866", "utf-16"])
def test_every_encoding_and_delimiter_spreadsheets_write_is_read(bringer, delimiter, encoding):
    rows = [["Почта", "Имя", "Город"], ["anna@example.com", "Анна", "Нижний Новгород"]]
    content = "\r\n".join(delimiter.join(row) for row in rows).encode(encoding)
    job = bringer.bring(content)
    assert job.added == 1, job.error
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.first_name, anna.fields) == ("Анна", {"gorod": "Нижний Новгород"})


def test_western_emails_in_a_western_encoding_are_read(bringer):
    bringer.bring(
        "email,name,city\njose@example.com,José Müller,Zürich\nanne@example.com,Anne,Genève\n".encode(
            "cp1252"
        )
    )
    jose = bringer.subscribers()["jose@example.com"]
    assert (jose.first_name, jose.last_name, jose.fields) == ("José", "Müller", {"city": "Zürich"})


def test_a_row_in_another_encoding_is_rejected_and_the_others_go_in(bringer):
    good = "".join(f"r{n}@example.com;Анна\n" for n in range(20)).encode()
    job = bringer.bring("email;имя\n".encode() + good + "x@example.com;Борис\n".encode("cp1251"))
    assert (job.added, bringer.rejects(job)) == (20, [(22, "encoding")])
    assert bringer.subscribers()["r0@example.com"].first_name == "Анна"


def test_a_separator_line_of_a_spreadsheet_is_understood(bringer):
    job = bringer.bring("sep=|\nemail|name\nanna@example.com|Anna, the first; of all\nbad|x\n")
    assert job.columns == ["email", "name"]
    assert (job.added, bringer.rejects(job)) == (1, [(4, "address_domain")])


def test_line_ends_of_old_macs_are_read(bringer):
    assert bringer.bring("email;name\ranna@example.com;Anna\rboris@example.com;Boris\r").added == 2


def test_quoted_cells_hold_delimiters_quotes_and_line_breaks(bringer):
    bringer.bring('email,note\nanna@example.com,"one, ""two""\r\nthree"\nb@example.com,x\n')
    assert bringer.subscribers()["anna@example.com"].fields == {"note": 'one, "two"\nthree'}
    assert len(bringer.subscribers()) == 2


def test_a_file_of_addresses_alone_needs_no_heading(bringer):
    job = bringer.bring("anna@example.com\nboris@example.com\n")
    assert (job.header, job.added, sorted(bringer.subscribers())) == (
        False,
        2,
        ["anna@example.com", "boris@example.com"],
    )


def test_columns_without_headings_become_numbered_variables(bringer):
    bringer.bring("Anna,anna@example.com,Moscow\nBoris,boris@example.com,Omsk\n")
    assert bringer.subscribers()["anna@example.com"].fields == {"column_1": "Anna", "column_3": "Moscow"}


@pytest.mark.parametrize(
    "heading", ["email", "E-mail", "E-Mail Address", "почта", "Эл. почта", "Адрес", "EMAIL:", "emailAddress"]
)
def test_the_column_of_addresses_is_found_by_its_heading(bringer, heading):
    assert bringer.bring(f"{heading};x\nanna@example.com;1\n").added == 1


def test_the_column_of_addresses_is_found_by_its_cells(bringer):
    assert bringer.bring("who;where to\nAnna;anna@example.com\nBoris;boris@example.com\n").added == 2


@pytest.mark.parametrize(
    ("heading", "cell", "first_name", "last_name", "fields"),
    [
        ("ФИО", "Иванова Анна Петровна", "Анна", "Иванова", {"patronymic": "Петровна"}),
        ("ФИО", "Иванова Анна", "Анна", "Иванова", {}),
        ("name", "Anna Maria Smith", "Anna", "Maria Smith", {}),
        ("name", "Анна Петровна Иванова", "Анна", "Иванова", {"patronymic": "Петровна"}),
        ("Full name", "Anna", "Anna", "", {}),
        ("Имя", "Анна Мария", "Анна Мария", "", {}),
        ("Surname", "O'Neil", "", "O'Neil", {}),
        ("First Name", "Anna\u00a0Maria", "Anna Maria", "", {}),
    ],
)
def test_names_are_understood(bringer, heading, cell, first_name, last_name, fields):
    bringer.bring(f"email;{heading}\nanna@example.com;{cell}\n")
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.first_name, anna.last_name, anna.fields) == (first_name, last_name, fields)


def test_encoded_words_in_names_stay_the_text_they_are(bringer):
    bringer.bring("email;имя\nanna@example.com;=?utf-8?b?QmNjOiB4?=\n")
    assert bringer.subscribers()["anna@example.com"].first_name == "=?utf-8?b?QmNjOiB4?="


def test_dates_in_the_american_order_are_understood_when_the_column_gives_it_away(bringer):
    job = bringer.bring("email,birthday\na@example.com,05/14/1990\nb@example.com,03/04/1991\n")
    assert job.mapping["1"] == "birthday_month_first"
    assert bringer.subscribers()["b@example.com"].birthday == date(1991, 3, 4)


def test_two_columns_of_the_same_heading_become_two_variables(bringer):
    bringer.bring("email;phone;phone\nanna@example.com;1;2\n")
    assert bringer.subscribers()["anna@example.com"].fields == {"phone": "1", "phone_2": "2"}


def test_a_column_named_like_a_value_of_emails_gets_another_name(bringer):
    bringer.bring("email;list;today\nanna@example.com;a;b\n")
    assert bringer.subscribers()["anna@example.com"].fields == {"list_field": "a", "today_field": "b"}


def test_a_column_with_an_empty_heading_is_a_column_where_it_has_cells(bringer):
    job = bringer.bring("email,   ,city, ,\nanna@example.com,x,Oslo,y,\n")
    assert job.added == 1
    assert bringer.subscribers()["anna@example.com"].fields == {
        "column_2": "x",
        "city": "Oslo",
        "column_4": "y",
    }


def test_a_title_above_the_headings_is_passed_over(bringer):
    job = bringer.bring("Customers 2026;;\n;;\nemail;name;city\nanna@example.com;Anna;Oslo\nbad;;\n")
    assert (job.rows, job.added, bringer.rejects(job)) == (2, 1, [(5, "address_domain")])
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.first_name, anna.fields) == ("Anna", {"city": "Oslo"})


def test_the_delimiter_of_a_ragged_file_is_found(bringer):
    job = bringer.bring(
        "email,name,city\na@example.com\nb@example.com,Ben\nc@example.com,C,Oslo,x\nd@example.com,,,,\n"
    )
    assert (job.added, bringer.rejects(job)) == (3, [(4, "too_many_cells")])


def test_a_stray_nul_spoils_its_row_only(bringer):
    job = bringer.bring(b"email,name\nanna@example.com,An\x00na\nben@example.com,Ben\n")
    assert (job.added, bringer.rejects(job)) == (1, [(2, "name_control")])


def test_blank_rows_are_passed_over_but_numbered(bringer):
    job = bringer.bring("email;name\n\n;\nanna@example.com;Anna\nbad;x\n\n")
    assert (job.rows, job.added, bringer.rejects(job)) == (2, 1, [(5, "address_domain")])


# Rejected rows


def test_bad_rows_are_rejected_with_number_and_reason_and_the_good_ones_go_in(bringer):
    long_name, long_value = "x" * 201, "y" * 10_001
    job = bringer.bring(
        "email;имя;birthday;note\n"
        "good@example.com;Анна;;\n"
        "a b@example.com;;;\n"
        "a@example.com, b@example.com;;;\n"
        "nobody;;;\n"
        ";Борис;;\n"
        f"long@example.com;{long_name};;\n"
        f"value@example.com;;;{long_value}\n"
        "date@example.com;;31.02.1990;\n"
        "unclear@example.com;;05/06/1990;\n"
        'break@example.com;"Анна\nИванова";;\n'
        "bell@example.com;;;ding\x07\n"
        "wide@example.com;;;;;surplus\n"
        "nul@example.com;x\x00y;;\n"
        "last@example.com;;;\n"
    )
    assert bringer.rejects(job) == [
        (3, "address_spaces"),
        (4, "address_several"),
        (5, "address_domain"),
        (6, "address_missing"),
        (7, "name_long"),
        (8, "value_long"),
        (11, "name_control"),
        (12, "value_control"),
        (13, "too_many_cells"),
        (14, "name_control"),
    ]
    assert (job.rows, job.added, job.rejected) == (14, 4, 10)
    assert job.notes["rows"] == [[9, "birthday", "31.02.1990"], [10, "birthday_unclear", "05/06/1990"]]
    names = ["date@example.com", "good@example.com", "last@example.com", "unclear@example.com"]
    assert sorted(bringer.subscribers()) == names


def test_rejected_rows_can_be_downloaded_and_no_cell_is_computed(bringer):
    job = bringer.bring("email;note\na@example.com;fine\nbad;\"=cmd|' /C calc'!A0\"\nworse;+7 999\n")
    content = b"".join(rejects_csv(bringer.sessions, job, str)).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(content)))
    assert rows[0] == ["Row", "Why it was skipped", "email", "note"]
    assert [row[0] for row in rows[1:]] == ["3", "4"]
    assert [row[3] for row in rows[1:]] == ["'=cmd|' /C calc'!A0", "'+7 999"]


@pytest.mark.parametrize("locale", ["en", "ru"])
@pytest.mark.parametrize("heading", ["email;note;\n", ""])
def test_rejected_rows_come_in_when_they_are_corrected(bringer, locale, heading):
    translate = make_localizer(locale, [str(files_of("mailganer") / "locale")]).translate
    note = "-" + "n" * 3_000
    job = bringer.bring(f"{heading}a@example.com;fine;1\nbad;{note};2\n")
    content = b"".join(rejects_csv(bringer.sessions, job, translate)).decode("utf-8-sig")
    job = bringer.bring(content.replace("bad", "good@example.com"))
    assert (job.rows, job.added, bringer.rejects(job)) == (1, 1, [])
    name = "note" if heading else "column_2"
    other = bringer.subscribers()["a@example.com"].fields
    assert other == {name: "fine", "column_3": "1"}
    assert bringer.subscribers()["good@example.com"].fields == {name: note, "column_3": "2"}


def test_every_reason_has_a_sentence():
    for code in ("birthday", "value_long", "limit", "suppressed"):
        assert reject_sentence(code, "x").interpolate().endswith(".")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n\r\n", "empty"),
        (b"PK\x03\x04" + b"\x00" * 30 + b"xl/workbook.xml", "workbook"),
        (b"\xd0\xcf\x11\xe0" + b"\x00" * 600, "workbook"),
        (b"PK\x03\x04" + b"\x00" * 30 + b"photo.jpg", "archive"),
        (b"\x1f\x8b\x08" + b"\x00" * 30, "archive"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary"),
        (b"name;city\nAnna;Moscow\n", "no_address"),
        (b"just some words\nand more\n", "no_address"),
        (b"email;name\n", "no_people"),
        (("email," + ",".join(f"c{n}" for n in range(199)) + "\na@example.com\n").encode(), "columns"),
        (b"email;note\na@example.com;" + b"x" * 1_000_000 + b"\n", "cell:2"),
        (b'email;note\na@example.com;"never closed\n' + b"b@example.com;x\n" * 20_000, "cell:2"),
        (b'email;note\na@example.com;x\nb@example.com;"never closed\nc@example.com;y\n', "quote:3"),
        (b"a@example.com, b@example.com, c@example.com\n", "row_of_addresses"),
    ],
)
def test_a_file_that_is_no_list_of_subscribers_is_refused_at_once_and_nothing_is_kept(
    bringer, content, problem
):
    with pytest.raises(FileRefused) as refused:
        bringer.start(content)
    assert refused.value.word == problem
    assert str(failure_sentence(problem).interpolate()) == str(refused.value)
    assert bringer.files() == []
    with bringer.sessions() as session:
        assert session.scalars(select(Import)).all() == []


def test_a_huge_cell_far_down_refuses_the_whole_file(bringer):
    rows = b"".join(b"r%d@example.com;%s\n" % (n, b"x" * 60) for n in range(30_000))
    job = bringer.bring(b"email;note\n" + rows + b"z@example.com;" + b"x" * 1_000_000 + b"\n")
    assert (job.status, job.error) == (ImportStatus.failed, "cell:30002")
    assert bringer.subscribers() == {}
    assert bringer.files() == []


def test_a_file_beyond_the_cap_is_refused_while_it_arrives(tmp_path):
    with pytest.raises(FileRefused) as refused:
        uploads.store(io.BytesIO(b"a@example.com\n" * 1_000_000), tmp_path, largest=2_000_000)
    assert refused.value.word == "size:2"
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_another_account_takes_no_file(bringer, make, make_list):
    theirs = make_list(make.account("other@example.com"))
    make.commit()
    with pytest.raises(NotFound):
        bringer.start("email\na@example.com\n", lst=theirs)


# Existing subscribers


def test_an_existing_subscriber_gets_what_the_file_says_and_keeps_the_rest(bringer):
    bringer.bring("email;имя;город;кличка\nanna@example.com;Анна;Москва;Аня\n")
    job = bringer.bring("email;имя;город\nANNA@example.com;;Омск\n")
    assert (job.added, job.updated, job.unchanged) == (0, 1, 0)
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.first_name, anna.fields) == ("Анна", {"gorod": "Омск", "klichka": "Аня"})


def test_the_same_file_twice_changes_nothing(bringer):
    content = "email;имя\nanna@example.com;Анна\nboris@example.com;Борис\n"
    bringer.bring(content)
    job = bringer.bring(content)
    assert (job.added, job.updated, job.unchanged) == (0, 0, 2)


def test_one_address_written_three_ways_is_one_subscriber_and_the_last_row_counts(bringer, monkeypatch):
    content = (
        "email;имя;город\n"
        "bob@bücher.example;Боб;Омск\nBOB@BÜCHER.example;;Томск\nbob@xn--bcher-kva.example;Роб;\n"
    )
    for rows in (2_000, 1):  # in one piece, and each row in its own
        monkeypatch.setattr(file_batches, "AT_ONCE", rows)
        job = bringer.bring(content)
        assert (job.rows, job.added + job.updated + job.unchanged, job.rejected) == (3, 3, 0)
        (bob,) = bringer.subscribers().values()
        assert (bob.first_name, bob.fields) == ("Роб", {"gorod": "Томск"})


def test_a_subscriber_with_rows_in_two_batches_is_counted_once(bringer, monkeypatch):
    monkeypatch.setattr(file_batches, "AT_ONCE", 1)
    job = bringer.bring("email;имя\nanna@example.com;Анна\nanna@example.com;Аня\n")
    assert (job.rows, job.added, job.updated, job.unchanged) == (2, 1, 0, 1)


@pytest.mark.parametrize("rows_at_once", [2_000, 1])
def test_every_row_is_counted_once_also_when_it_repeats_an_address(bringer, monkeypatch, now, rows_at_once):
    monkeypatch.setattr(file_batches, "AT_ONCE", rows_at_once)
    bringer.bring("email,city\nboris@example.com,Oslo\nclara@example.com,Rome\ngone@example.com,Bonn\n")
    with bringer.sessions.begin() as session:
        gone = session.scalars(select(Subscriber).where(Subscriber.email_key == "gone@example.com")).one()
        unsubscribe(session, gone, reason="by hand", now=now)
        erase_subscriber(session, gone)
    job = bringer.start(
        "email,city\nanna@example.com,Rome\nANNA@example.com,Oslo\nanna@example.com,\nboris@example.com,Bern\n"
        "boris@example.com,Bern\nclara@example.com,Rome\nclara@example.com,\nno address,\n"
        "gone@example.com,Bonn\ngone@example.com,Kiel\n",
        apply=False,
    )
    for look in (lambda: bringer.run(job), lambda: _applied(bringer, job)):
        seen = look()
        assert (seen.rows, seen.added, seen.updated, seen.unchanged, seen.rejected) == (10, 1, 1, 5, 3)
        assert bringer.rejects(seen) == [(9, "address_wrong"), (10, "suppressed"), (11, "suppressed")]


def _applied(bringer, import_id: int) -> Import:
    with bringer.sessions.begin() as session:
        apply_import(session, session.get(Import, import_id))
    return bringer.run(import_id)


def test_who_unsubscribed_is_not_subscribed_again_by_a_file(bringer, now):
    bringer.bring("email;имя\nanna@example.com;Анна\n")
    with bringer.sessions.begin() as session:
        unsubscribe(session, session.scalars(select(Subscriber)).one(), reason="link", now=now)
    bringer.bring("email;имя\nanna@example.com;Аня\n")
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.status, anna.first_name) == (SubscriberStatus.unsubscribed, "Аня")


def test_who_unsubscribed_and_was_erased_stays_out_by_a_file(bringer, now):
    bringer.bring("email\nanna@example.com\nboris@example.com\n")
    with bringer.sessions.begin() as session:
        for subscriber in session.scalars(select(Subscriber)):
            if subscriber.email_key == "anna@example.com":
                unsubscribe(session, subscriber, reason="link", now=now)
            erase_subscriber(session, subscriber)
    job = bringer.bring("email\nAnna@Example.com\nboris@example.com\n")
    assert (job.added, bringer.rejects(job)) == (1, [(2, "suppressed")])


def test_rows_beyond_the_plan_are_rejected_and_those_before_go_in(bringer, ini_values):
    bringer.settings = _with_room_for(bringer.settings, 3)
    job = bringer.bring("email\n" + "".join(f"r{n}@example.com\n" for n in range(5)))
    assert (job.added, bringer.rejects(job)) == (3, [(5, "limit"), (6, "limit")])


def test_the_plan_is_kept_to_the_last_place_when_it_is_not_counted_for_every_piece(bringer, monkeypatch):
    monkeypatch.setattr(file_batches, "AT_ONCE", 1)
    monkeypatch.setattr(plan_room, "NARROW", 0)
    bringer.settings = _with_room_for(bringer.settings, 3)
    job = bringer.bring("email\n" + "".join(f"r{n}@example.com\n" for n in range(5)))
    assert (job.added, bringer.rejects(job)) == (3, [(5, "limit"), (6, "limit")])


def test_with_a_full_plan_existing_subscribers_are_still_updated(bringer):
    bringer.settings = _with_room_for(bringer.settings, 1)
    bringer.bring("email;имя\nanna@example.com;Анна\n")
    job = bringer.bring("email;имя\nanna@example.com;Аня\nnew@example.com;\n")
    assert (job.updated, bringer.rejects(job)) == (1, [(3, "limit")])


def _with_room_for(settings, number):
    from dataclasses import replace

    plan = replace(settings.plans[0], max_subscribers=number)
    return replace(settings, plans=(plan, *settings.plans[1:]))


# Trial runs


def test_existing_subscribers_added_to_another_list_are_previewed_as_changed(bringer):
    subscribers = "email;имя\nanna@example.com;Анна\nboris@example.com;Борис\n"
    bringer.bring(subscribers)
    with bringer.sessions.begin() as session:
        account, now = bringer.account.id, bringer.list.created_at
        other = SubscriberList(account_id=account, name="Others", created_at=now)
        session.add(other)
    job = bringer.bring(subscribers, lst=other, apply=False)
    assert (job.added, job.updated, job.unchanged) == (0, 2, 0)
    with bringer.sessions.begin() as session:
        apply_import(session, session.get(Import, job.id))
    job = bringer.run(job.id)
    assert (job.added, job.updated, job.unchanged) == (0, 2, 0)


def test_a_file_that_waits_says_what_would_change_and_changes_nothing(bringer):
    bringer.bring("email;имя\nanna@example.com;Анна\nboris@example.com;Борис\n")
    job = bringer.bring(
        "email;имя\nanna@example.com;Аня\nboris@example.com;Борис\nnew@example.com;\nnew@example.com;\nbad;\n",
        apply=False,
    )
    assert job.status is ImportStatus.ready
    assert (job.rows, job.added, job.updated, job.unchanged, job.rejected) == (5, 1, 1, 2, 1)
    assert bringer.subscribers().keys() == {"anna@example.com", "boris@example.com"}
    assert bringer.subscribers()["anna@example.com"].first_name == "Анна"

    with bringer.sessions.begin() as session:
        apply_import(session, session.get(Import, job.id))
    job = bringer.run(job.id)
    assert (job.status, job.added, job.updated, job.unchanged, job.rejected) == (
        ImportStatus.done,
        1,
        1,
        2,
        1,
    )
    assert bringer.subscribers()["anna@example.com"].first_name == "Аня"
    assert bringer.files() == []


def test_the_preview_shows_columns_with_their_fields_and_first_cells(bringer):
    job = bringer.bring("email;Имя;Город\nanna@example.com;Анна;Омск\n", apply=False)
    preview = import_preview(job, bringer.settings.uploads)
    assert [(column.name, column.field, column.cells) for column in preview.columns] == [
        ("email", "email", ("anna@example.com",)),
        ("Имя", "first_name", ("Анна",)),
        ("Город", "gorod", ("Омск",)),
    ]


def test_the_user_chooses_what_the_columns_are(bringer):
    job = bringer.bring("email;a;b\nanna@example.com;Омск;Анна\n", apply=False)
    with bringer.sessions.begin() as session:
        set_mapping(session, session.get(Import, job.id), {"a": "", "b": "first_name"})
    job = bringer.run(job.id)
    assert job.status is ImportStatus.ready
    with bringer.sessions.begin() as session:
        apply_import(session, session.get(Import, job.id))
    bringer.run(job.id)
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.first_name, anna.fields) == ("Анна", {})


@pytest.mark.parametrize(
    "mapping",
    [{"Имя": "name_of_theirs", "1": "name_of_theirs"}, {"name_of_theirs": "Имя"}, {"имя": "Name of theirs"}],
)
def test_a_program_says_what_the_columns_are(bringer, mapping):
    bringer.bring("email;Имя\nanna@example.com;Анна\n", mapping=mapping)
    assert bringer.subscribers()["anna@example.com"].fields == {"name_of_theirs": "Анна"}


def test_a_mapping_finds_addresses_under_any_heading(bringer):
    job = bringer.bring("who;x\nnobody;1\nanna@example.com;2\nboris@;3\nc;4\n", mapping={"who": "email"})
    assert (job.added, job.rejected) == (1, 3)


@pytest.mark.parametrize(
    "mapping",
    [
        {"nothing": "first_name"},
        {"email": ""},
        {"email": "email", "имя": "email"},
        {"имя": "birthday", "z": "birthday"},
    ],
)
def test_a_mapping_that_cannot_be_is_refused(bringer, mapping):
    with pytest.raises(InputError) as wrong:
        bringer.start("email;имя;z\nanna@example.com;Анна;1\n", mapping=mapping)
    assert wrong.value.fields.keys() == {"mapping"}
    assert bringer.files() == []


def test_what_was_imported_cannot_be_imported_again(bringer):
    job = bringer.bring("email\nanna@example.com\n")
    with bringer.sessions.begin() as session, pytest.raises(Conflict):
        apply_import(session, session.get(Import, job.id))


# Undoing


def _undo(bringer, job):
    with bringer.sessions.begin() as session:
        undo_import(session, session.get(Import, job.id), bringer.now + timedelta(minutes=1))
    return bringer.job(job.id)


def test_undo_deletes_new_subscribers_and_restores_old_values(bringer):
    bringer.bring("email;имя;город;birthday\nanna@example.com;Анна;Омск;14.05.1990\n")
    job = bringer.bring(
        "email;имя;город;birthday\nanna@example.com;Аня;Томск;15.05.1990\nnew@example.com;;;\n"
    )
    assert _undo(bringer, job).status is ImportStatus.undone
    (anna,) = bringer.subscribers().values()
    assert (anna.first_name, anna.fields, anna.birthday) == ("Анна", {"gorod": "Омск"}, date(1990, 5, 14))
    with bringer.sessions() as session:
        assert session.scalars(select(Subscriber.email_key)).all() == ["anna@example.com"]


def test_undo_gives_back_the_values_from_before_the_file_when_it_named_a_subscriber_twice(
    bringer, monkeypatch
):
    monkeypatch.setattr(file_batches, "AT_ONCE", 1)
    bringer.bring("email;имя;город\nanna@example.com;Анна;Омск\n")
    job = bringer.bring("email;имя;город\nanna@example.com;Аня;\nanna@example.com;;Томск\n")
    _undo(bringer, job)
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.first_name, anna.fields) == ("Анна", {"gorod": "Омск"})


def test_undo_keeps_subscribers_who_were_written_to_or_joined_another_list(
    bringer, make, make_list, session, now
):
    job = bringer.bring("email\nwritten@example.com\nelsewhere@example.com\ngone@example.com\n")
    subscribers = bringer.subscribers()
    campaign = make.campaign(bringer.account)
    other = make_list(bringer.account, "Other")
    make._join(other, [subscribers["elsewhere@example.com"].id], now)
    session.add(
        Delivery(
            id=campaign.id * 10_000_000,
            campaign_id=campaign.id,
            subscriber_id=subscribers["written@example.com"].id,
            email="written@example.com",
            email_key="written@example.com",
            token=b"t" * 16,
            dated_at=now,
        )
    )
    make.commit()
    _undo(bringer, job)
    assert bringer.subscribers() == {}
    with bringer.sessions() as fresh:
        assert sorted(fresh.scalars(select(Subscriber.email_key))) == [
            "elsewhere@example.com",
            "written@example.com",
        ]


def test_undo_leaves_what_was_changed_since(bringer):
    bringer.bring("email;имя\nanna@example.com;Анна\n")
    job = bringer.bring("email;имя\nanna@example.com;Аня\n")
    bringer.now += timedelta(hours=1)
    bringer.bring("email;имя\nanna@example.com;Нюра\n")
    _undo(bringer, job)
    assert bringer.subscribers()["anna@example.com"].first_name == "Нюра"


def test_a_large_file_is_undone_by_and_by(bringer, monkeypatch):
    from mailganer.audience.imports import actions

    monkeypatch.setattr(actions, "_UNDONE_AT_ONCE", 3)
    monkeypatch.setattr(file_batches, "AT_ONCE", 4)
    job = bringer.bring("email\n" + "".join(f"r{n}@example.com\n" for n in range(20)))
    _undo(bringer, job)
    assert len(bringer.subscribers()) == 17
    with bringer.sessions() as session:
        assert due_imports(session, bringer.now) == [job.id]
    bringer.run(job.id)
    assert bringer.subscribers() == {}
    with bringer.sessions() as session:
        assert due_imports(session, bringer.now) == []


def test_a_file_that_is_coming_in_can_be_stopped(bringer, monkeypatch):
    monkeypatch.setattr(file_batches, "AT_ONCE", 5)
    import_id = bringer.start("email\n" + "".join(f"r{n}@example.com\n" for n in range(30)))
    write = import_steps.write_subscribers

    def write_and_stop(session, job, *rest):
        outcome = write(session, job, *rest)
        return outcome

    monkeypatch.setattr(import_steps, "write_subscribers", write_and_stop)
    assert not run_import(bringer.sessions, bringer.settings, import_id, now=lambda: bringer.now, seconds=0)
    assert not run_import(bringer.sessions, bringer.settings, import_id, now=lambda: bringer.now, seconds=0)
    assert 0 < len(bringer.subscribers()) < 30
    _undo(bringer, bringer.job(import_id))
    bringer.run(import_id)
    assert bringer.subscribers() == {}
    assert bringer.files() == []


def test_nothing_can_be_undone_before_anything_came_in(bringer):
    job = bringer.bring("email\nanna@example.com\n", apply=False)
    with pytest.raises(Conflict):
        _undo(bringer, job)


# Resuming


def test_work_in_slices_comes_to_the_same(bringer, monkeypatch):
    monkeypatch.setattr(file_batches, "AT_ONCE", 7)
    monkeypatch.setattr(file_batches, "READ_AT_ONCE", 7)
    rows = "".join(
        f'r{n}@example.com;"Имя\nв две строки {n}"\n' if n % 10 == 3 else f"r{n}@example.com;И{n}\n"
        for n in range(50)
    )
    import_id = bringer.start("email;имя\n" + rows)
    slices = 1
    while not run_import(bringer.sessions, bringer.settings, import_id, now=lambda: bringer.now, seconds=0):
        slices += 1
    job = bringer.job(import_id)
    assert slices > 10
    assert (job.status, job.rows, job.added, job.rejected) == (ImportStatus.done, 50, 45, 5)
    assert [row for row, _code in bringer.rejects(job)] == [5, 15, 25, 35, 45]
    assert len(bringer.subscribers()) == 45


def test_an_import_that_someone_works_on_is_left_alone(bringer):
    import_id = bringer.start("email\nanna@example.com\n")
    with bringer.sessions.begin() as session:
        session.execute(update(Import).values(lease_until=bringer.now + timedelta(seconds=5)))
        assert due_imports(session, bringer.now) == []
    assert bringer.run(import_id).status is ImportStatus.reading
    bringer.now += timedelta(seconds=6)
    assert bringer.run(import_id).status is ImportStatus.done


def test_who_lost_the_lease_writes_nothing_more(bringer, monkeypatch):
    monkeypatch.setattr(file_batches, "AT_ONCE", 5)
    import_id = bringer.start("email\n" + "".join(f"r{n}@example.com\n" for n in range(20)))
    real, calls = file_batches.parse_rows, []

    def read_and_lose(batch, reader):
        calls.append(len(batch))
        if len(calls) == 2:
            with bringer.sessions.begin() as session:
                session.execute(update(Import).values(epoch=Import.epoch + 1))
        return real(batch, reader)

    monkeypatch.setattr(file_batches, "parse_rows", read_and_lose)
    bringer.run(import_id)
    assert (len(calls), len(bringer.subscribers()), bringer.job(import_id).added) == (2, 5, 5)


def test_a_missing_file_is_one_clear_sentence(bringer):
    import_id = bringer.start("email\nanna@example.com\n")
    (bringer.settings.uploads / bringer.job(import_id).path).unlink()
    job = bringer.run(import_id)
    assert (job.status, job.error) == (ImportStatus.failed, "gone")


def test_an_import_that_is_gone_is_no_error(bringer):
    assert run_import(bringer.sessions, bringer.settings, 12345)


def test_files_that_are_unknown_are_removed_after_a_day(bringer):
    import os
    import time

    bringer.settings.uploads.mkdir(parents=True)
    for name, age in (("old.csv", 25), ("fresh.csv", 1)):
        path = bringer.settings.uploads / name
        path.write_text("x")
        os.utime(path, (time.time() - age * 3600,) * 2)
    bringer.bring("email\nanna@example.com\n")
    assert bringer.files() == ["fresh.csv"]


def test_an_exported_list_can_be_restored(bringer, session):
    bringer.bring(
        "email;имя;фамилия;birthday;город\nanna@example.com;Анна;Иванова;29.02;Омск\nb@example.com;=1+1;;;\n"
    )
    exported = b"".join(subscribers_csv(bringer.sessions, bringer.account.id))
    rows = list(csv.DictReader(io.StringIO(exported.decode("utf-8-sig"))))
    assert [row["email"] for row in rows] == ["b@example.com", "anna@example.com"]
    assert rows[0]["first_name"] == "'=1+1"
    assert rows[1] | {"birthday": "29.02", "gorod": "Омск", "lists": "Readers", "status": "active"} == rows[1]
    with bringer.sessions.begin() as fresh:
        for subscriber in fresh.scalars(select(Subscriber)):
            erase_subscriber(fresh, subscriber)
    bringer.bring(exported)
    anna = bringer.subscribers()["anna@example.com"]
    assert (anna.first_name, anna.last_name, anna.birthday) == ("Анна", "Иванова", date(1604, 2, 29))
    assert anna.fields == {"gorod": "Омск"}
    assert bringer.subscribers()["b@example.com"].first_name == "=1+1"


def test_numbers_and_booleans_of_the_api_survive_an_export_and_an_import(bringer, now, settings):
    fields = {"vip": False, "visits": 0, "share": 0.5, "code": "007"}
    with bringer.sessions.begin() as session:
        account = session.get(Account, bringer.account.id)
        add_subscriber(session, account, email="a@example.org", fields=fields, now=now, settings=settings)
    exported = b"".join(subscribers_csv(bringer.sessions, bringer.account.id)).decode("utf-8-sig")
    assert "false" in exported
    assert bringer.bring(exported).updated == 1  # joins the list
    kept = bringer.subscribers()["a@example.org"].fields
    assert {name: repr(value) for name, value in kept.items()} == {n: repr(v) for n, v in fields.items()}
    bringer.bring("email,vip,visits,share,code\na@example.org,TRUE,12,often,7\n")
    changed = {"vip": True, "visits": 12, "share": "often", "code": "7"}
    assert bringer.subscribers()["a@example.org"].fields == changed


def test_a_guarded_export_comes_back_as_it_was(bringer):
    note = "one;=1+1\n-2;'=3"
    bringer.bring(f'email;имя;note\na@example.com;=Анна;"{note}"\n')
    exported = b"".join(subscribers_csv(bringer.sessions, bringer.account.id)).decode("utf-8-sig")
    assert "one;'=1+1\n'-2;''=3" in exported
    assert bringer.bring(exported).unchanged == 1
    subscriber = bringer.subscribers()["a@example.com"]
    assert (subscriber.first_name, subscriber.fields) == ("=Анна", {"note": note})
    bringer.bring(f'email;note\nb@example.com;"{note}"\n')
    assert bringer.subscribers()["b@example.com"].fields == {"note": note}  # from the file of another program


def test_an_api_request_and_a_file_do_not_create_one_subscriber_twice(bringer, now, settings):
    bringer.bring("email\nanna@example.com\n")
    with bringer.sessions.begin() as session:
        account = session.get(Account, bringer.account.id)
        added = add_subscriber(session, account, email="ANNA@example.com", now=now, settings=settings)
        assert not added.created
