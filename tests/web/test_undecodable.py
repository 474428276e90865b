"""Invalid UTF-8 in a request is ignored or 400, never 500."""

from typing import Any

import pytest

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PATHS = ("/sign-in", "/u/unknown", "/api/v1/openapi.json", "/campaigns")
STRANGE = ("\xff", "\xd0\xb0", "\x7f", "a" * 5000, '"\\377"', "%FF", ";;=;", "=", "\xc3\x28")


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
def test_no_header_makes_a_500(app: Any, path: str, value: str) -> None:
    for name in (
        "Cookie",
        "Accept-Language",
        "Accept",
        "Accept-Encoding",
        "Referer",
        "If-None-Match",
        "If-Modified-Since",
        "Range",
        "Authorization",
        "Origin",
        "User-Agent",
        "X-Forwarded-For",
        "Idempotency-Key",
        "Content-Type",
        "HX-Request",
    ):
        environ = {
            "CONTENT_TYPE" if name == "Content-Type" else f"HTTP_{name.upper().replace('-', '_')}": value
        }
        assert app.get(path, extra_environ=environ, status="*").status_int < 500, name


@pytest.mark.parametrize("name", ["mailganer", "mailganer-device", "other"])
def test_a_cookie_that_is_no_utf_8_is_ignored_and_the_others_are_read(app: Any, name: str) -> None:
    app.get("/sign-in", extra_environ={"HTTP_COOKIE": f'{name}="\\377"; lang=ru'}, status=200)
    app.get("/sign-in", extra_environ={"HTTP_COOKIE": f"{name}=\xff"}, status=200)


def test_a_signed_in_user_stays_so_beside_another_programs_cookie(anna: Any) -> None:
    ours = "; ".join(f"{each.name}={each.value}" for each in anna.cookiejar)
    anna.get("/settings", headers={"Cookie": f'x="\\377"; {ours}'}, status=200)


@pytest.mark.slow
@pytest.mark.parametrize("query", ["%FF", "a=%FF", "email=%C3%28", "next=%00", "q=" + "%FF" * 2000, "&&&=="])
@pytest.mark.parametrize("path", PATHS)
def test_no_query_makes_a_500(anna: Any, path: str, query: str) -> None:
    assert anna.get(f"{path}?{query}", status="*").status_int < 500


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"a=%FF", b"\xff\xfe", b"a=b&" * 500, b"csrf_token=%00", b"=&=&%"])
@pytest.mark.parametrize("path", ["/sign-in", "/u/unknown", "/settings", "/api/v1/login", "/api/v1/lists"])
def test_no_form_makes_a_500(anna: Any, path: str, body: bytes) -> None:
    for kind in ("application/x-www-form-urlencoded", "application/json", "text/plain; charset=\xff", ""):
        answer = anna.post(path, body, headers={"Content-Type": kind}, status="*")
        assert answer.status_int < 500, kind
