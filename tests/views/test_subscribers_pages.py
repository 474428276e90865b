"""Subscribers, lists and imports, through forms."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailganer.audience import run_import, unsubscribe
from mailganer.db import utcnow
from mailganer.models import (
    Account,
    DeliveryStatus,
    Import,
    ImportStatus,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    list_member,
)

from ..support.factories import Factory
from ..support.sent import sent_campaign

CSV_FILE = "E-mail;Имя;Город\nanna@example.org;Анна;Омск\nboris@example.org;Борис;\nnobody;Вера;\n"


@pytest.fixture
def account(anna: Any, session: Session) -> Account:
    """Return the account of the signed-in client."""
    return session.scalars(select(Account).where(Account.email == "anna@example.com")).one()


@pytest.fixture
def work(wsgi_app: Any) -> Callable[[], Import]:
    """Run the worker's part of the newest import."""

    def work() -> Import:
        registry = wsgi_app.registry
        with registry["sessions"]() as session:
            newest = session.scalars(select(Import.id).order_by(Import.id.desc())).first()
        run_import(registry["sessions"], registry["settings"], newest)
        with registry["sessions"]() as session:
            return session.get(Import, newest)

    return work


def upload(app: Any, content: str | bytes = CSV_FILE, name: str = "Readers", **status: int) -> Any:
    form = app.get("/subscribers/import").forms["bring"]
    form["file"] = ("people.csv", content.encode() if isinstance(content, str) else content)
    form["list"], form["name"] = "new", name
    return form.submit(**status)


def form_to(page: Any, end: str) -> Any:
    """Return the form of a page that posts to an address with this end."""
    return next(form for form in page.forms.values() if form.action.endswith(end))


def test_an_empty_page_says_what_to_do(anna: Any) -> None:
    assert "No subscribers yet" in anna.get("/subscribers")
    assert "No lists yet" in anna.get("/lists")


def test_a_file_is_looked_at_then_imported_then_undone(anna: Any, work: Callable[[], Import]) -> None:
    page = upload(anna).follow()
    assert "Nothing is imported yet" in page
    assert 'http-equiv="refresh"' in page  # continues without scripts

    work()
    page = anna.get("/subscribers/import").click("people.csv")
    assert "Import 2 subscribers" in page
    assert "Row" in page
    assert "The part after @ is missing" in page
    assert "No subscribers yet" in anna.get("/subscribers")

    form_to(page, "/apply").submit().follow()
    assert work().status is ImportStatus.done
    page = anna.get("/subscribers")
    assert "Анна" in page
    assert "boris@example.org" in page

    imported = anna.get("/subscribers/import").click("people.csv")
    assert "2 subscribers imported" in imported
    page = form_to(imported, "/undo").submit().follow()
    work()
    assert "Import undone" in anna.get(page.request.path)
    assert "No subscribers yet" in anna.get("/subscribers")


def test_the_columns_can_be_said_before_the_import(
    anna: Any, work: Callable[[], Import], session: Session
) -> None:
    page = upload(anna, "email;a\nanna@example.org;Анна\n").follow()
    work()
    form = form_to(anna.get(page.request.path), "/columns")
    form["column.1"] = "first_name"
    page = form.submit().follow()
    work()
    form_to(anna.get(page.request.path), "/apply").submit()
    work()
    assert session.scalars(select(Subscriber.first_name)).all() == ["Анна"]


def test_an_uncertain_encoding_is_asked_for_before_the_import(
    anna: Any, work: Callable[[], Import], session: Session
) -> None:
    page = upload(anna, "email;first_name\nm@example.org;משה\nk@example.org;כהן\n".encode("cp1255")).follow()
    work()
    page = anna.get(page.request.path)
    assert "but this is not certain" in page
    assert "m@example.org, " in page
    assert not any(form.action.endswith("/apply") for form in page.forms.values())
    token = form_to(page, "/discard")["csrf_token"].value
    anna.post(f"{page.request.path}/apply", {"csrf_token": token})  # a page that was opened before
    work()
    assert "No subscribers yet" in anna.get("/subscribers")
    form = form_to(page, "/encoding")
    assert "Greek (Windows-1253)" in [text for _value, _selected, text in form["encoding"].options]
    form["encoding"].force_value("rot13")
    assert "Unknown encoding" in form.submit(status=422)
    form["encoding"] = "cp1255"
    page = form.submit().follow()
    work()
    page = anna.get(page.request.path)
    assert "uncertain" not in page
    form_to(page, "/apply").submit()
    work()
    assert "2 subscribers imported" in anna.get(page.request.path)
    assert form.submit(status="*").status_int == 409
    assert session.scalars(select(Subscriber.first_name)).all() == ["משה", "כהן"]


def test_columns_that_do_not_go_together_are_said(anna: Any, work: Callable[[], Import]) -> None:
    page = upload(anna).follow()
    work()
    form = form_to(anna.get(page.request.path), "/columns")
    form["column.0"] = ""
    assert "Choose the column with the email addresses" in form.submit(status=422)


def test_a_file_that_is_none_is_refused_with_a_sentence_and_makes_no_list(
    anna: Any, session: Session
) -> None:
    page = upload(anna, "name;city\nA;B\n", status=422)
    assert "No column contains email addresses" in page
    form = anna.get("/subscribers/import").forms["bring"]
    form["list"], form["name"] = "new", "x"
    assert "Choose a file." in form.submit(status=422)
    page = upload(anna, name="", status=422)
    assert "Enter a name for the list." in page
    assert "Choose the file again." in page
    assert session.scalars(select(SubscriberList)).all() == []


def test_a_file_that_was_only_looked_at_can_be_forgotten(
    anna: Any, work: Callable[[], Import], session: Session, wsgi_app: Any
) -> None:
    page = upload(anna).follow()
    work()
    form_to(anna.get(page.request.path), "/discard").submit().follow()
    assert session.scalars(select(Import)).all() == []
    assert list(wsgi_app.registry["settings"].uploads.iterdir()) == []


def test_rejected_rows_can_be_downloaded(anna: Any, work: Callable[[], Import]) -> None:
    page = upload(anna).follow()
    work()
    answer = anna.get(f"{page.request.path}/rejects.csv")
    assert answer.content_type == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.body.decode("utf-8-sig").splitlines()[1].endswith(',"nobody","Вера",""')


def test_a_subscriber_is_added_changed_and_deleted_by_hand(anna: Any, session: Session) -> None:

    form = next(f for f in anna.get("/subscribers/new").forms.values() if "email" in f.fields)
    form["email"], form["first_name"], form["birthday"] = "anna@example.org", "Анна", "14.05.1990"
    form["new_field"], form["new_value"] = "Город", "Омск"
    page = form.submit().follow()
    assert "anna@example.org was added." in page
    assert "14 May 1990" in page
    assert "gorod" in page

    form = next(f for f in page.click("Edit").forms.values() if "email" in f.fields)
    form["first_name"], form["field.gorod"] = "Аня", ""
    page = form.submit().follow()
    assert "Аня" in page
    assert "gorod" not in page

    form_to(page, "/delete").submit().follow()
    assert session.scalars(select(Subscriber)).all() == []


def test_numbers_and_booleans_stay_so_when_a_subscriber_is_changed_by_hand(
    anna: Any, session: Session, account: Account, make: Factory
) -> None:
    person = make.subscriber(account, "a@example.org", fields={"vip": False, "visits": 0, "code": "007"})
    make.commit()
    page = anna.get(f"/subscribers/{person.id}")
    assert "<dd>false</dd>" in page
    assert "<dd>0</dd>" in page
    form = next(f for f in page.click("Edit").forms.values() if "email" in f.fields)
    form["first_name"], form["field.visits"] = "Anna", "3"
    form.submit().follow()
    session.expire_all()
    fields = session.get_one(Subscriber, person.id).fields
    assert (fields["vip"], fields["visits"], fields["code"]) == (False, 3, "007")


def test_wrong_fields_are_named_beside_them(anna: Any) -> None:
    form = next(f for f in anna.get("/subscribers/new").forms.values() if "email" in f.fields)
    form["email"], form["birthday"] = "a b@example.org", "31.02.1990"
    page = form.submit(status=422)
    assert "The address contains a space" in page
    assert "This is not a valid date" in page


def test_a_full_plan_says_so_and_keeps_what_was_written(
    anna: Any, account: Account, make: Factory, session: Session
) -> None:
    make.subscribers(account, 1000)
    session.commit()
    form = next(f for f in anna.get("/subscribers/new").forms.values() if "email" in f.fields)
    form["email"] = "one@example.org"
    page = form.submit(status=409)
    assert "one@example.org" in page
    assert "and all are used" in page
    assert "View plans" in page


def test_subscribers_are_found_by_name_address_state_and_list(
    anna: Any, account: Account, make: Factory, session: Session
) -> None:
    lst = make.list(account)
    one = make.subscriber(account, "anna@example.org", (lst,), first_name="Алёна", last_name="Иванова")
    make.subscriber(account, "boris@example.org", first_name="Борис")
    unsubscribe(session, one, reason="x", now=utcnow())
    session.commit()
    searches = [{"query": "алена"}, {"query": "ИВАН алё"}, {"query": "anna@"}]
    for query in (*searches, {"status": "unsubscribed"}, {"list": str(lst.id)}):
        page = anna.get("/subscribers", query)
        assert "Алёна" in page, query
        assert "Борис" not in page, query
    chips = [
        chip.get_text(" ", strip=True) for chip in anna.get("/subscribers?query=ann").html.select(".filter a")
    ]
    assert chips == ["All 1", "Unsubscribed 1"]
    assert "No matches." in anna.get("/subscribers?query=%25")
    assert "Борис" in anna.get("/subscribers?status=nonsense&list=x&after=y")


def test_more_than_a_thousand_matches_are_not_counted(
    anna: Any, account: Account, make: Factory, session: Session
) -> None:
    make.subscribers(account, 1001)
    session.execute(update(Subscriber).values(search_key="имя"))  # factories of many leave it empty
    make.subscriber(account, "left@example.org", status=SubscriberStatus.unsubscribed)
    session.commit()
    page = anna.get("/subscribers", {"query": "имя"})
    chips = [chip.get_text(" ", strip=True) for chip in page.html.select(".filter a")]
    assert chips == ["All 1,000+", "Subscribed", "Unsubscribed"]
    assert "No matches." in page.click("^Unsubscribed$")


def test_an_unsubscribed_subscriber_is_shown_with_the_reason_and_cannot_be_unsubscribed_again(
    anna: Any, account: Account, make: Factory, session: Session
) -> None:
    person = make.subscriber(account, "anna@example.org")
    session.commit()
    page = anna.get(f"/subscribers/{person.id}")
    page = form_to(page, "/unsubscribe").submit().follow()
    assert "This subscriber unsubscribed" in page
    assert not any(form.action.endswith("/unsubscribe") for form in page.forms.values())
    session.refresh(person)
    assert person.status is SubscriberStatus.unsubscribed


def test_an_email_that_waits_for_someone_who_left_is_said_to_be_left_out(
    anna: Any, account: Account, make: Factory, session: Session
) -> None:
    person = make.subscriber(account, "anna@example.org")
    sent_campaign(session, make.campaign(account), [person], utcnow(), [DeliveryStatus.pending])
    session.commit()
    assert "It will be skipped" not in anna.get(f"/subscribers/{person.id}")
    unsubscribe(session, person, reason="x", now=utcnow())
    session.commit()
    assert "It will be skipped." in anna.get(f"/subscribers/{person.id}")


def test_what_asks_once_more_can_be_called_off(anna: Any, account: Account, make: Factory) -> None:
    person = make.subscriber(account, "anna@example.org")
    make.commit()
    dialogs = anna.get(f"/subscribers/{person.id}").html.select("[popover]")
    assert dialogs
    for dialog in dialogs:
        cancel = dialog.select_one(".dialog-actions button[popovertargetaction=hide]")
        assert (cancel["popovertarget"], cancel["type"]) == (dialog["id"], "button")


def test_lists_are_made_renamed_and_deleted(anna: Any, session: Session) -> None:
    form = next(f for f in anna.get("/lists/new").forms.values() if "description" in f.fields)
    form["name"] = "Guests"
    page = form.submit().follow()
    form = next(f for f in page.click("Edit").forms.values() if "description" in f.fields)
    form["name"], form["description"] = "Spring guests", "Who came"
    page = form.submit().follow()
    assert "Spring guests" in page
    page = form_to(page.click("Edit"), "/delete").submit().follow()
    assert "No lists yet" in page
    assert session.scalars(select(SubscriberList)).all() == []


def test_headings_are_nouns_and_buttons_verbs_in_russian_too(
    anna: Any, account: Account, make: Factory
) -> None:
    lst = make.list(account)
    make.commit()
    ru = {"lang": "ru"}
    upload = anna.get("/subscribers/import", ru)
    assert (upload.html.h1.text, upload.html.title.text.split(" · ")[0]) == ("Импорт подписчиков",) * 2
    assert "Загрузить подписчиков" in anna.get("/subscribers", ru)
    editing = anna.get(f"/lists/{lst.id}/edit", ru)
    assert "Удаление списка" in [each.text for each in editing.html.find_all("h2")]
    assert "Удалить список" in [each.text.strip() for each in editing.html.find_all("button")]


def test_a_list_shows_its_subscribers_and_their_numbers(
    anna: Any, account: Account, make: Factory, session: Session
) -> None:
    lst = make.list(account, "Guests")
    make.subscribers(account, 60, lst)
    session.commit()
    page = anna.get(f"/lists/{lst.id}")
    assert "reader000060@example.org" in page
    assert "reader000001@example.org" not in page
    page = page.click("Next page")
    assert "reader000001@example.org" in page
    assert "60" in anna.get("/lists")


def test_subscribers_are_downloaded_as_a_search_finds_them(
    anna: Any, account: Account, make: Factory, session: Session
) -> None:
    make.subscribers(account, 3)
    session.commit()
    answer = anna.get("/subscribers.csv", {"query": "Имя2"})
    rows = answer.body.decode("utf-8-sig").splitlines()
    assert [row.split(",")[0] for row in rows] == ['"email"', '"reader000002@example.org"']


@pytest.mark.parametrize(
    "address",
    [
        "/subscribers/{person}",
        "/subscribers/{person}/edit",
        "/lists/{list}",
        "/lists/{list}/edit",
        "/subscribers/import/{job}",
        "/subscribers/import/{job}/rejects.csv",
        "/subscribers/import/{job}/progress",
    ],
)
def test_rows_of_another_account_is_not_there(
    anna: Any, make: Factory, session: Session, address: str, now: Any
) -> None:
    theirs = make.account("other@example.com")
    lst = make.list(theirs)
    person = make.subscriber(theirs)
    job = Import(account_id=theirs.id, list_id=lst.id, filename="x", path="x.csv", created_at=now)
    session.add(job)
    session.commit()
    anna.get(address.format(person=person.id, list=lst.id, job=job.id), status=404)


def test_a_list_of_another_account_takes_neither_subscribers_nor_files(
    anna: Any, make: Factory, session: Session
) -> None:
    lst = make.list(make.account("other@example.com"))
    session.commit()
    token = anna.get("/subscribers/import").forms["bring"]["csrf_token"].value
    files = [("file", "people.csv", CSV_FILE.encode())]
    anna.post(
        "/subscribers/import", {"csrf_token": token, "list": str(lst.id)}, upload_files=files, status=404
    )
    data = {"csrf_token": token, "email": "a@example.org", "lists": str(lst.id)}
    anna.post("/subscribers/new", data, status=422)
    assert session.execute(select(list_member)).all() == []


def test_pages_of_subscribers_need_a_sign_in(app: Any) -> None:
    for address in ("/subscribers", "/subscribers.csv", "/subscribers/new", "/subscribers/import", "/lists"):
        assert app.get(address, status=303).location.startswith("http://localhost/sign-in")


def test_an_import_of_who_unsubscribed_names_the_column_that_says_so(
    anna: Any, work: Callable[[], Import], account: Account, make: Factory
) -> None:
    make.list(account, "Readers")
    make.commit()
    page = upload(
        anna, "Email Address,First Name,UNSUB_TIME\na@example.org.,Una,2021-01-01 10:00:00\n"
    ).follow()
    work()
    page = anna.get(page.request.path)
    assert "The column “UNSUB_TIME” marks" in page
    assert "“.” next to the address was removed." in page
    numbers = page.html.select_one(".stats").get_text()
    assert all(word in numbers for word in ("New", "Updated", "Unchanged", "Skipped"))


def test_a_new_list_appears_when_its_file_is_let_in(
    anna: Any, work: Callable[[], Import], session: Session
) -> None:
    content = "email,first_name\na@example.org,Anna\n"
    page = upload(anna, content, name="Guests").follow()
    assert "Guests" not in anna.get("/lists")
    work()
    form_to(anna.get(page.request.path), "/discard").submit(status=303)
    session.expire_all()
    assert session.scalars(select(SubscriberList.name)).all() == []
    session.commit()  # on SQLite an open transaction blocks other writers

    page = upload(anna, content, name="Guests").follow()
    work()
    page = anna.get(page.request.path)
    assert "Guests" not in anna.get("/lists")
    form_to(page, "/apply").submit(status=303)
    work()
    assert "Guests" in anna.get("/lists")
    form_to(anna.get(page.request.path), "/undo").submit(status=303)
    work()
    assert "Guests" not in anna.get("/lists")


def test_a_list_is_known_as_made_for_a_file_by_the_import_and_not_by_its_time(
    anna: Any, work: Callable[[], Import], session: Session
) -> None:
    upload(anna, "email\na@example.org\n", name="Guests")
    work()
    job = session.scalars(select(Import)).one()
    assert job.made_list
    job.created_at += timedelta(seconds=1)  # whatever the times are
    other = SubscriberList(account_id=job.account_id, name="Readers", created_at=job.created_at)
    session.add(other)
    session.flush()
    session.add(
        Import(
            account_id=job.account_id,
            list_id=other.id,
            filename="x",
            path="x.csv",
            status=ImportStatus.ready,
            created_at=other.created_at,
        )
    )
    session.commit()
    page = anna.get("/lists")
    assert "Guests" not in page
    assert "Readers" in page


def test_a_list_that_was_there_stays_when_its_file_is_forgotten(
    anna: Any, work: Callable[[], Import], account: Account, make: Factory
) -> None:
    lst = make.list(account, "Readers")
    make.commit()
    form = anna.get("/subscribers/import").forms["bring"]
    form["file"], form["list"] = ("people.csv", b"email\na@example.org\n"), str(lst.id)
    page = form.submit().follow()
    work()
    form_to(anna.get(page.request.path), "/discard").submit(status=303)
    assert "Readers" in anna.get("/lists")


def test_an_import_says_how_many_are_new_updated_and_skipped(
    anna: Any, work: Callable[[], Import], account: Account, make: Factory
) -> None:
    lst = make.list(account, "Readers")
    make.subscriber(account, "old@example.org", (lst,), first_name="Old")
    make.commit()
    content = (
        "email;имя;birthday;status\nold@example.org;Olga;05/06;active\nnew@example.org;Anna;;active\n"
        "new@example.org;Anna;;active\nnobody;;;active\ngone@example.org;;;unsubscribed\n"
    )
    page = upload(anna, content).follow()
    work()
    page = anna.get(page.request.path)
    assert "Import 2 new subscribers, update 1" in page
    assert "The column “status” marks 1 subscriber as unsubscribed or undeliverable" in page
    assert "Is the day or the month first?" in page
    form_to(page, "/apply").submit().follow()
    work()
    page = anna.get(page.request.path)
    assert "2 subscribers imported" in page
    assert "New: 2. Updated: 1. Unchanged: 1. Skipped: 1." in page
    assert "still get" not in page
    again = upload(anna, "email\nold@example.org\n").follow()
    work()
    assert "Update 1 subscriber" in anna.get(again.request.path)


def test_files_of_one_name_are_distinguished_by_list_rows_and_time(
    anna: Any, work: Callable[[], Import]
) -> None:
    upload(anna, name="First list")
    work()
    upload(anna, "email\nclara@example.org\n", name="Second list")
    work()
    rows = anna.get("/subscribers/import").html.select("tbody tr")
    shown = [" ".join(row.get_text(" ").split()) for row in rows]
    assert "people.csv Second list" in shown[0]
    assert "people.csv First list" in shown[1]
    numbers = [row.select_one("td.number").text for row in rows]
    assert numbers == ["1", "3"]
    assert all(row.find("time")["datetime"] for row in rows)
    assert all(re.search(r"\d\d:\d\d", row.find("time").text) for row in rows)
