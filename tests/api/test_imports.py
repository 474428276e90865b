"""CSV files by API."""

from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session
from webob.request import BaseRequest

from mailganer.audience import run_import
from mailganer.audience.imports import actions

from ..fixtures.api import Client

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CSV = b"email,name\nboris@example.org,Boris\n"


@pytest.fixture
def bring(client: Client) -> Any:
    """``bring(apply="no")``: the response to a file with these fields beside it."""
    path = f"/api/v1/lists/{client.post('lists', {'name': 'Readers'}).json['id']}/imports"

    def bring(content: bytes = CSV, status: int = 202, **fields: Any) -> Any:
        files = [("file", "people.csv", content)]
        files += [(name, f"{name}.json", value) for name, value in fields.items() if isinstance(value, bytes)]
        texts = {name: value for name, value in fields.items() if isinstance(value, str)}
        return client.app.post(path, texts, headers=client.headers, upload_files=files, status=status).json

    return bring


def wrong(answer: Any) -> list[str]:
    return [error["field"] for error in answer["errors"]]


def test_the_encoding_can_be_named_and_is_answered(bring: Any, client: Client) -> None:
    registry = client.app.app.registry
    content = "email;first_name\na@example.org;Jürgen Groß\n"
    assert bring(content.encode("mac_roman"), encoding="macroman")["encoding"] == "mac_roman"
    assert bring(content.encode(), encoding="")["encoding"] == "utf-8"
    assert wrong(bring(content.encode(), encoding="rot13", status=422)) == ["encoding"]
    guessed = bring(content.encode("mac_roman"))
    run_import(registry["sessions"], registry["settings"], guessed["id"])
    answer = client.get(f"imports/{guessed['id']}").json
    assert answer["encoding"] == "mac_roman"
    assert (answer["added"], answer["noted"]) == (1, 1)
    (note,) = answer["notes"]
    assert note["code"] == "encoding_guessed"
    assert "Western European (Mac Roman)" in note["sentence"]


@pytest.mark.parametrize(
    ("word", "applied"),
    [
        *((word, True) for word in ("true", "True", "1", "yes", "on", " TRUE ")),
        *((word, False) for word in ("false", "False", "0", "no", "off")),
    ],
)
def test_whether_to_apply_is_said_in_any_usual_word(
    bring: Any, session: Session, word: str, applied: bool
) -> None:
    from mailganer.models import Import

    assert session.get_one(Import, bring(apply=word)["id"]).apply is applied


def test_any_other_word_is_a_wrong_field(bring: Any, client: Client) -> None:
    assert wrong(bring(apply="perhaps", status=422)) == ["apply"]
    assert wrong(bring(apply=b"\x00\x01", status=422)) == ["apply"]


def test_a_mapping_may_be_a_file(bring: Any) -> None:
    assert bring(mapping=b'{"name": "last_name"}')["mapping"] == {"0": "email", "1": "last_name"}


@pytest.mark.parametrize(
    "mapping",
    [
        "[" * 5_000,
        '{"' + "1" * 5000 + '": "email"}',
        '{"name": {"a": 1}}',
        "[]",
        "null",
        '{"name": "\\ud800"}',
        b"\xff\xfe",
    ],
)
def test_a_mapping_that_is_none_is_a_wrong_field(bring: Any, mapping: Any) -> None:
    assert wrong(bring(mapping=mapping, status=422)) == ["mapping"]


def test_a_number_of_a_column_without_end_is_no_column(bring: Any, client: Client) -> None:
    made = bring(apply="no")
    body = {"mapping": {"9" * 5000: "email"}}
    answer = client.post(f"imports/{made['id']}/apply", body, status="*")
    assert answer.status_int in (409, 422)


def test_what_is_no_form_with_a_file_is_refused(bring: Any, client: Client) -> None:
    assert wrong(bring(b"\x89PNG\r\n\x1a\n\x00", status=422)) == ["file"]
    lst = client.get("lists").json["items"][0]["id"]
    path = f"/api/v1/lists/{lst}/imports"
    for kind in ("application/json", "text/csv", "application/x-www-form-urlencoded",
                 "multipart/form-data; boundary=x; charset=cp1251"):  # fmt: skip
        for key in ({}, {"Idempotency-Key": "k"}):
            headers = client.headers | {"Content-Type": kind} | key
            answer = client.app.post(path, CSV, headers=headers, expect_errors=True)
            assert (answer.status_int, answer.content_type) == (415, "application/problem+json"), kind
    headers = client.headers | {"Content-Type": "multipart/form-data; boundary=x"}
    assert wrong(client.app.post(path, b"nonsense", headers=headers, status=422).json) == ["file"]


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}])
def test_a_file_that_is_imported_blocks_no_writer(
    client: Client, monkeypatch: pytest.MonkeyPatch, session: Session, key: dict[str, str]
) -> None:
    """An upload may take a minute, and emails are sent meanwhile."""
    made = client.post("lists", {"name": "Readers"}).json["id"]
    store, read = actions.store, BaseRequest.POST.fget
    written: list[str] = []

    def write(where: str) -> None:
        session.execute(text("PRAGMA busy_timeout = 100"))
        session.execute(text("UPDATE account SET locale = locale"))
        session.commit()
        written.append(where)

    def reading(request: Any) -> Any:
        if request.path.endswith("/imports"):
            write("reading")
        return read(request)

    def storing(*arguments: Any) -> Any:
        write("storing")
        return store(*arguments)

    monkeypatch.setattr(BaseRequest, "POST", property(reading))
    monkeypatch.setattr(actions, "store", storing)
    client.app.post(
        f"/api/v1/lists/{made}/imports",
        headers=client.headers | key,
        upload_files=[("file", "people.csv", CSV)],
        status=202,
    )
    assert {"reading", "storing"} <= set(written)


def test_a_list_that_is_deleted_while_a_file_comes_is_not_there(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.post("lists", {"name": "Readers"}).json["id"]
    store = actions.store

    def storing(*arguments: Any) -> Any:
        client.delete(f"lists/{made}", status=204)
        return store(*arguments)

    monkeypatch.setattr(actions, "store", storing)
    client.app.post(
        f"/api/v1/lists/{made}/imports",
        headers=client.headers | {"Idempotency-Key": "k"},
        upload_files=[("file", "people.csv", CSV)],
        status=404,
    )


def test_a_file_that_is_read_by_someone_blocks_no_writer(bring: Any, client: Client) -> None:
    """SQLite has one writer at a time, so a slow download must not be one."""
    made = bring()
    begun: list[str] = []
    engine = client.app.app.registry["engine"]

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("BEGIN"):
            begun.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    client.get(f"imports/{made['id']}/rejects.csv")
    assert begun
    assert "BEGIN IMMEDIATE" not in begun


def test_notes_and_who_left_are_in_the_answer(bring: Any, client: Client) -> None:
    registry = client.app.app.registry
    content = b"email,birthday,status\n<a@example.org>,soon,active\nb@example.org,,unsubscribed\n"
    started = bring(content)["id"]
    run_import(registry["sessions"], registry["settings"], started)
    answer = client.get(f"imports/{started}").json
    assert (answer["added"], answer["left"], answer["noted"]) == (2, 1, 2)
    assert [(note["row"], note["code"]) for note in answer["notes"]] == [
        (2, "address_repaired"),
        (2, "birthday"),
    ]
    assert "soon" in answer["notes"][1]["sentence"]
