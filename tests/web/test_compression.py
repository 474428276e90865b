"""Static files are cached for a year under their hash, and text is compressed."""

import gzip
from importlib.resources import files
from typing import Any

import pytest
from webob import Request, Response

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
GZIP = {"Accept_Encoding": "gzip, br"}


def fetch(app: Any, path: str, **headers: str) -> Response:
    """Return the response as it is sent: WebTest would decode it."""
    cookies = "; ".join(f"{name}={value}" for name, value in app.cookies.items())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Request.blank(path, headers=named | {"Cookie": cookies}).get_response(app.app)
    assert answer.body is not None  # read to the end, as a server does
    return answer


def stylesheet(app: Any) -> str:
    return app.get("/").html.select_one("link[rel=stylesheet]")["href"]


def test_a_static_file_is_kept_for_a_year_under_its_hash(app: Any) -> None:
    address = stylesheet(app)
    assert app.get(address).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    other = app.get(address.split("?")[0] + "?v=0123456789")
    assert "immutable" not in other.headers["Cache-Control"]


def test_a_static_file_is_compressed_for_who_accepts_it(app: Any) -> None:
    address = stylesheet(app)
    plain = files("mailganer").joinpath("static", address.split("/static/")[1].split("?")[0]).read_bytes()
    answer = fetch(app, address, **GZIP)
    assert answer.content_encoding == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert gzip.decompress(answer.body) == plain
    assert len(answer.body) == answer.content_length < len(plain) / 2
    assert fetch(app, address).body == plain
    again = fetch(app, address, If_Modified_Since=answer.headers["Last-Modified"], **GZIP)
    assert (again.status_int, again.body) == (304, b"")


def test_a_page_is_compressed_and_its_length_says_nothing(anna: Any) -> None:
    answers = [fetch(anna, "/settings", **GZIP) for _ in range(12)]
    assert {(answer.status_int, answer.content_encoding) for answer in answers} == {(200, "gzip")}
    assert len({answer.content_length for answer in answers}) > 1
    assert "</html>" in gzip.decompress(answers[0].body).decode()


def test_what_is_small_and_what_no_one_asked_to_compress_stays_as_it_is(anna: Any) -> None:
    for path in ("/healthz", "/static/icon.svg"):
        assert fetch(anna, path, **GZIP).content_encoding is None
    assert fetch(anna, "/settings").content_encoding is None
    assert fetch(anna, "/settings", Accept_Encoding="gzip;q=0").content_encoding is None


@pytest.mark.parametrize("path", ["/static/../settings.py", "/static/%2e%2e/settings.py", "/static/none.css"])
def test_nothing_outside_the_folder_is_read(app: Any, path: str) -> None:
    assert fetch(app, path + "?v=0123456789", **GZIP).status_int == 404
