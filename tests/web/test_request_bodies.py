"""Too large bodies are rejected before they are read; malformed forms get 400."""

import gc
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waitress import wasyncore

from mailganer.cli.server import make_server
from mailganer.web import BodyLimits, request_bodies, routes
from mailganer.web.multipart import LONGEST_HEADER, TooManyFields, parts_of
from mailganer.web.request_bodies import AT_ONCE, LARGEST_FILE, LARGEST_PAGE, MOST_FIELDS, SMALL
from tests.support.ports import free_port

from ..fixtures.api import Client

# WebOb leaves the file of a large body to the garbage collector.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")]
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
CASES = Path(__file__).parent / "cases"
KIND = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


def form(*parts: bytes, boundary: bytes = b"x") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary


def field(name: str, value: str = "1") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


def text_as_file(name: str, filename: str = "t") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return f"{head}\r\n\r\n1".encode()


def subscribers(content: bytes) -> bytes:
    head = b'Content-Disposition: form-data; name="file"; filename="people.csv"\r\n'
    return head + b"Content-Type: text/csv\r\n\r\n" + content


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The forms that were read, in order."""
    seen: list[str] = []
    for name in ("parts_of", "fields_of", "read_upload"):
        read = getattr(request_bodies, name)

        def noted(*arguments: Any, name: str = name, read: Any = read) -> Any:
            seen.append(name)
            return read(*arguments)

        monkeypatch.setattr(request_bodies, name, noted)
    return seen


# Clients that are not signed in


@one_database
def test_forty_thousand_tiny_parts_are_refused_unread(app: Any, parsed: list[str]) -> None:
    """Return a body like that of ``multipart-parts.py``."""
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % number for number in range(40_000)
    )
    assert len(body) > SMALL
    page = app.post("/sign-in", body + b"--x--", headers=KIND, status=413)
    assert "The form is too large" in page
    assert parsed == []


@one_database
def test_a_form_has_a_thousand_fields_at_most(app: Any) -> None:
    """A form with this many fields is read, and rejected for its missing token."""
    for kind in (*KIND.values(), "application/x-www-form-urlencoded", ""):
        for number, status in ((MOST_FIELDS, 400), (MOST_FIELDS + 1, 413)):
            body = form(*[field(str(each)) for each in range(number)])
            if "multipart" not in kind:
                body = "&".join(f"f{each}=1" for each in range(number)).encode()
            page = app.post("/sign-in", body, headers={"Content-Type": kind}, status=status)
            assert ("This form has expired" in page) == (status == 400), kind


@one_database
def test_a_body_above_a_megabyte_is_refused_where_no_file_belongs(app: Any, parsed: list[str]) -> None:
    for path in (
        "/",
        "/sign-in",
        "/display-settings",
        "/campaigns/new",
        "/u/x",
        "/payments/voucher",
        "/api/v1/login",
    ):
        kind = {
            "Content-Type": "application/json" if "/api/" in path else "application/x-www-form-urlencoded"
        }
        app.post(path, b"a" * (SMALL + 1), headers=kind, status=413)
    assert parsed == []


@one_database
def test_nothing_of_a_strangers_file_is_read(app: Any, parsed: list[str]) -> None:
    for path in ("/subscribers/import", "/campaigns/1/email", "/api/v1/lists/1/imports"):
        answer = app.post(path, form(subscribers(b"x" * SMALL)), headers=KIND, expect_errors=True)
        assert answer.status_int in (303, 401)
    assert parsed == []


# Malformed


@one_database
def test_who_leaves_is_not_asked_for_a_well_formed_form(app: Any, parsed: list[str]) -> None:
    longest = {"Content-Type": "multipart/form-data; boundary=" + "b" * 300}
    assert app.post("/u/unknown", b"--a", headers=longest, expect_errors=True).status_int == 404
    assert parsed == []


@one_database
def test_a_boundary_of_three_hundred_characters_is_400(app: Any) -> None:
    head, _blank, body = (CASES / "boundary-300.http").read_bytes().partition(b"\r\n\r\n")
    kind = next(line for line in head.decode().split("\r\n") if line.startswith("Content-Type: "))
    app.post("/sign-in", body, headers={"Content-Type": kind.removeprefix("Content-Type: ")}, status=400)


MALFORMED = {
    "empty": b"\r\n",
    "no end": form(field("a")).removesuffix(b"--x--\r\n"),
    "another boundary": form(field("a"), boundary=b"y"),
    "no blank line": form(b'Content-Disposition: form-data; name="a"'),
    "no name": form(b"Content-Disposition: form-data\r\n\r\n1"),
    "no header": form(b"\r\n1"),
    "headers without end": form(b"a:\r\n" * 100_000 + b"\r\n1"),
    "an attachment": form(b'Content-Disposition: attachment; name="a"\r\n\r\n1'),
}


@one_database
def test_what_is_no_form_is_400(app: Any) -> None:
    for name, body in MALFORMED.items():
        page = app.post("/sign-in", body, headers=KIND, status=400)
        assert "This form has expired" not in page, name  # it was not read


@one_database
def test_a_content_type_that_names_no_form_is_400(app: Any) -> None:
    for kind in (
        "multipart/form-data; boundary=" + "b" * 71,
        'multipart/form-data; boundary="b\x7f"',
        "multipart/form-data; boundary=x; charset=utf-16",
        "multipart/form-data; boundary=x; charset=none",
        "multipart/form-data; boundary=",
        "multipart/form-data",
        "application/x-www-form-urlencoded; charset=cp1251",
    ):
        app.post("/sign-in", form(field("a")), headers={"Content-Type": kind}, status=400)


@one_database
def test_a_text_field_that_is_sent_as_a_file_is_400(app: Any) -> None:
    token = app.get("/sign-in", {"email": "anna@example.com"}).forms[0]["csrf_token"].value
    for name in ("csrf_token", "email", "next", "timezone"):
        for filename in ("t", ""):
            body = form(field("csrf_token", token), text_as_file(name, filename))
            app.post("/sign-in", body, headers=KIND, status=400)


@one_database
def test_only_the_file_fields_of_uploads_may_be_files(anna: Any) -> None:
    token = anna.get("/settings").forms[0]["csrf_token"].value
    uploads = {"subscribers.import", "campaign.upload", "templates.new", "template"}
    for name, pattern, _factory in routes.FIRST_PAGES + routes.PAGES + routes.PAYMENTS:
        path = re.sub(r"{[^}]*}", lambda found: "1" if "d+" in found[0] else "a", pattern)
        for sent in ("csrf_token", "name", "file"):
            body = form(field("csrf_token", token), text_as_file(sent))
            answer = anna.post(path, body, headers=KIND, expect_errors=True)
            assert (answer.status_int == 400) != (sent == "file" and name in uploads), (name, sent)


@pytest.mark.parametrize("value", ["", "1", "Ёлка\r\nдва", "a\r\n\r\nb", "\r\n", "a=b&c"])
def test_a_small_form_says_what_was_sent(value: str) -> None:
    body = form(field("a", value), field("b"), field("a", "2"))
    assert list(parts_of(body, b"x", 3)) == [("a", value), ("b", "1"), ("a", "2")]
    with pytest.raises(TooManyFields):
        list(parts_of(body, b"x", 2))


def test_a_form_within_a_form_is_not_looked_into() -> None:
    inner = form(*[field(str(each)) for each in range(MOST_FIELDS)], boundary=b"y")
    part = b'Content-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n'
    assert len(list(parts_of(form(part + inner), b"x", 1))) == 1


# Files of signed-in users


def upload(anna: Any, *parts: bytes, status: Any = 303) -> Any:
    token = anna.get("/settings").forms[0]["csrf_token"].value
    body = form(field("csrf_token", token), field("list", "new"), field("name", "Readers"), *parts)
    return anna.post("/subscribers/import", body, headers=KIND, status=status)


def test_a_file_above_a_megabyte_is_read_while_nothing_is_locked(
    wsgi_app: Any, anna: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, open_transactions = request_bodies.read_upload, []

    def noted(*arguments: Any) -> Any:
        open_transactions.append(wsgi_app.registry["engine"].pool.checkedout())
        return read(*arguments)

    monkeypatch.setattr(request_bodies, "read_upload", noted)
    rows = b"email\n" + b"".join(b"reader%d@example.org\n" % number for number in range(60_000))
    assert len(rows) > SMALL
    upload(anna, subscribers(rows))
    assert open_transactions == [0]


@one_database
def test_many_parts_beside_a_file_are_refused(anna: Any) -> None:
    upload(anna, *[field(str(each)) for each in range(MOST_FIELDS)], status=413)


@one_database
@pytest.mark.parametrize(
    "part",
    [
        b'Content-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n'
        + form(*[field(str(each)) for each in range(2_000)], boundary=b"y"),
        b"a:\r\n" * LONGEST_HEADER + b"\r\n1",
        b'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=none\r\n\r\n1',
    ],
    ids=["nested", "headers without end", "charset"],
)
def test_a_malformed_part_beside_a_file_is_400(anna: Any, part: bytes) -> None:
    upload(anna, part, subscribers(b"email\na@example.org\n"), status=400)


@one_database
def test_a_long_email_is_saved(anna: Any) -> None:
    """Each Cyrillic letter takes six bytes in a form."""
    form = anna.get("/templates/new").forms
    page = next(each for each in form.values() if "html" in each.fields)
    page["name"], page["html"] = "Длинное", "<p>" + "ё" * 400_000 + "</p>"
    assert page.submit().status_int == 303


@one_database
def test_the_api_refuses_many_parts_and_malformed_ones(client: Client) -> None:
    made = client.post("lists", {"name": "Readers"}).json["id"]
    path, headers = f"/api/v1/lists/{made}/imports", client.headers | KIND
    many = form(*[field(str(each)) for each in range(MOST_FIELDS + 1)])
    answer = client.app.post(path, many, headers=headers, status=413)
    assert answer.content_type == "application/problem+json"
    assert "1,000 fields" in answer.json["detail"]
    longest = client.headers | {"Content-Type": "multipart/form-data; boundary=" + "b" * 300}
    answer = client.app.post(path, b"--a", headers=longest, status=400)
    assert answer.content_type == "application/problem+json"
    client.app.post(path, form(subscribers(b"email\na@example.org\n")), headers=headers, status=202)


# The web server


class Body:
    """A request that keeps its body."""


@pytest.fixture
def limits(wsgi_app: Any) -> BodyLimits:
    kept: BodyLimits = wsgi_app.registry["body_limits"]
    return kept


def cookie_of(app: Any) -> dict[str, str]:
    return {"COOKIE": "; ".join(f"{each.name}={each.value}" for each in app.cookiejar)}


@one_database
def test_the_server_takes_large_bodies_for_files_of_accounts_only(limits: BodyLimits, anna: Any) -> None:
    signed = cookie_of(anna)
    assert limits(Body(), "/subscribers/import", signed) == LARGEST_FILE
    assert limits(Body(), "/templates/new", signed) == LARGEST_PAGE
    forged = signed["COOKIE"].replace("mailganer=", "mailganer=A")
    for headers in ({}, {"COOKIE": "mailganer=x"}, {"COOKIE": forged}, {"COOKIE": "\xff=\xff"}):
        assert limits(Body(), "/subscribers/import", headers) == 2 * SMALL
    assert limits(Body(), "/api/v1/lists/17/imports", signed) == 2 * SMALL, "a cookie opens nothing there"


@one_database
def test_a_browser_that_is_not_signed_in_sends_no_large_body(limits: BodyLimits, app: Any) -> None:
    app.get("/sign-in?email=anna@example.com")
    assert "mailganer=" in cookie_of(app)["COOKIE"]
    assert limits(Body(), "/subscribers/import", cookie_of(app)) == 2 * SMALL


@one_database
def test_so_many_large_bodies_of_one_session_are_taken_at_once(limits: BodyLimits, anna: Any) -> None:
    kept = [Body() for _each in range(AT_ONCE)]
    for each in kept:
        assert limits(each, "/subscribers/import", cookie_of(anna)) == LARGEST_FILE
    assert limits(Body(), "/subscribers/import", cookie_of(anna)) == 2 * SMALL
    kept.pop()
    del each
    assert limits(Body(), "/subscribers/import", cookie_of(anna)) == LARGEST_FILE


@one_database
def test_tokens_that_have_opened_nothing_send_few_large_bodies_together(
    limits: BodyLimits, client: Client
) -> None:
    path = "/api/v1/lists/17/imports"
    kept = [Body() for _each in range(AT_ONCE)]
    for number, each in enumerate(kept):
        assert limits(each, path, {"AUTHORIZATION": f"Bearer made-up-{number}"}) == LARGEST_FILE
    mine = {"AUTHORIZATION": client.headers["Authorization"]}
    assert limits(Body(), path, mine) == 2 * SMALL
    client.get("lists")
    assert limits(Body(), path, mine) == LARGEST_FILE
    assert limits(Body(), path, {"AUTHORIZATION": "Bearer another"}) == 2 * SMALL


@one_database
def test_a_large_body_is_refused_by_its_length_before_it_is_sent(limits: BodyLimits) -> None:
    asked: list[str] = []
    sockets: dict[Any, Any] = {}
    port = free_port()

    def application(environ: Any, start_response: Any) -> Any:
        asked.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server = make_server(
        application, lambda *_: False, sockets, limit=limits, host="127.0.0.1", port=port, threads=1
    )
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            wasyncore.loop(timeout=0.05, map=sockets, count=1)

    serving = threading.Thread(target=serve)
    serving.start()

    def ask(length: int, headers: str = "") -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as there:
            head = (
                f"POST /subscribers/import HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n"
            )
            there.sendall(head.encode() + (b"" if length > SMALL else b"x" * length))
            return there.recv(4096).split(b"\r\n")[0]

    try:
        assert b" 413 " in ask(100_000_000)
        assert b" 413 " in ask(LARGEST_FILE, "Cookie: mailganer=x\r\n")
        assert b" 200 " in ask(10, "Cookie: mailganer=x\r\n")
        assert asked == ["/subscribers/import"]
    finally:
        ended.set()
        serving.join(10)
        server.task_dispatcher.shutdown()
        wasyncore.close_all(sockets)
