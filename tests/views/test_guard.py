"""Security of pages: cookies, forged forms, headers, other accounts' rows."""

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from pyramid.testing import DummyRequest

from mailganer.accounts.rate_limit_storage import DatabaseRateLimitStorage
from mailganer.errors import Throttled
from mailganer.web import RateLimit, RateLimiter, RotatingSerializer, local_path, network
from mailganer.web.rate_limits import ALTOGETHER, FROM_ONE_PLACE, PER_ADDRESS, PER_HOST
from mailganer.web.routes import PAGES

from ..support.factories import Factory
from ..support.redis import Redis

one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@one_database
def test_the_session_cookie_is_closed_to_scripts_and_other_sites(
    app: Any, sign_in: Callable[..., Any]
) -> None:
    cookies = sign_in(app).headers.getall("Set-Cookie")
    assert cookies
    for cookie in cookies:
        assert "httponly" in cookie.lower()
        assert "samesite=lax" in cookie.lower()


@one_database
def test_behind_https_the_cookie_is_secure_and_bound_to_its_host(
    ini_values: dict[str, str], request: pytest.FixtureRequest
) -> None:
    ini_values["mailganer.public_url"] = "https://mail.example.com"
    app = request.getfixturevalue("app")
    answer = app.get("/sign-in", {"email": "anna@example.com"}, extra_environ={"wsgi.url_scheme": "https"})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-mailganer=")
    assert "secure" in cookie.lower()
    assert "domain=" not in cookie.lower()
    assert answer.headers["Strict-Transport-Security"]


@one_database
def test_every_page_forbids_inline_script_style_and_frames(app: Any) -> None:
    headers = app.get("/").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


@one_database
def test_no_page_has_inline_script_or_style(anna: Any) -> None:
    for path in ("/senders", "/senders/new", "/senders/new?email=a@b.example", "/settings", "/plan", "/none"):
        page = anna.get(path, expect_errors=True)
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son\w+=", page.text), path


@one_database
@pytest.mark.parametrize(
    "path",
    [
        "/sign-in",
        "/sign-out",
        "/display-settings",
        "/settings",
        "/settings/tokens",
        "/senders/new",
        "/senders/1/delete",
    ],
)
def test_a_form_without_its_token_changes_nothing(anna: Any, path: str) -> None:
    answer = anna.post(path, {"email": "anna@example.com"}, status=400)
    assert "This form has expired" in answer


@one_database
def test_a_form_that_was_open_too_long_leads_back_to_its_page(anna: Any) -> None:
    for came_from, leads_to in (("http://localhost/settings", "http://localhost/settings"), ("", "/")):
        answer = anna.post("/settings", {}, headers={"Referer": came_from}, status=400)
        assert answer.html.select_one("main .button")["href"] == leads_to
    answer = anna.post("/settings", {}, headers={"Referer": "http://localhost.evil.example/"}, status=400)
    assert answer.html.select_one("main .button")["href"] == "/"


@one_database
def test_every_page_of_an_account_asks_who_is_there(app: Any) -> None:
    for name, pattern, _factory in PAGES:
        path = re.sub(r"\{(id|delivery):[^}]*\}", "1", pattern)
        path = re.sub(r"\{[^}]*\}", "welcome", path)
        answer = app.get(path, expect_errors=True)
        assert answer.status_int in (303, 404), name
        if answer.status_int == 303:
            assert "/sign-in?next=" in answer.headers["Location"], name


def test_what_belongs_to_another_account_is_not_there(anna: Any, make: Factory) -> None:
    other = make.account("boris@example.com")
    sender = make.sender(other)
    make.commit()
    token = anna.get("/settings").forms[0]["csrf_token"].value
    missing = anna.get("/senders/999999", status=404).text.replace("999999", str(sender.id))
    assert anna.get(f"/senders/{sender.id}", status=404).text == missing
    anna.post(f"/senders/{sender.id}/delete", {"csrf_token": token}, status=404)
    anna.post(f"/senders/{sender.id}/verify", {"csrf_token": token}, status=404)
    assert f"/senders/{sender.id}" not in anna.get("/senders")


@one_database
def test_a_number_too_large_for_a_database_is_not_there(anna: Any) -> None:
    anna.get("/senders/99999999999999999999999", status=404)


def test_a_session_of_a_closed_account_opens_nothing(anna: Any) -> None:
    page = anna.get("/settings")
    next(form for form in page.forms.values() if form.action.endswith("/settings/close")).submit()
    assert anna.get("/settings").status_int == 303


@one_database
def test_a_cookie_signed_with_another_key_opens_nothing(app: Any) -> None:
    forged = RotatingSerializer(("f" * 64,)).dumps([1, 1, {"account": 1, "epoch": 0}]).decode()
    app.set_cookie("mailganer", forged)
    assert app.get("/settings").status_int == 303


def test_sessions_outlive_a_new_secret_key_until_the_old_one_goes() -> None:
    old, new = "a" * 32, "b" * 32
    cookie = RotatingSerializer((old,)).dumps({"account": 1})
    assert RotatingSerializer((new, old)).loads(cookie) == {"account": 1}
    assert RotatingSerializer((new,)).dumps({}) != RotatingSerializer((old,)).dumps({})
    with pytest.raises(ValueError, match="signature"):
        RotatingSerializer((new,)).loads(cookie)


def test_sessions_are_json_and_nothing_that_could_run() -> None:
    import base64

    cookie = RotatingSerializer(("a" * 32,)).dumps({"account": 1})
    signed = base64.urlsafe_b64decode(cookie + b"=" * (-len(cookie) % 4))
    assert json.loads(signed[64:]) == {"account": 1}


@pytest.mark.parametrize("path", ["/", "/senders", "/senders?x=1#y", "/a//b", "/%2F%2Fevil.example"])
def test_a_path_of_our_own_is_a_way_back(path: str) -> None:
    assert local_path(path, "/default") == path


@pytest.mark.parametrize(
    "path",
    [None, "", "senders", "//evil", "///evil", "/\\evil", "http://evil", "/a\\b", "/a\nb", "/\x00", "\t//e"],
)
def test_any_other_path_is_not(path: str | None) -> None:
    assert local_path(path, "/default") == "/default"


def test_an_address_counts_once_however_it_is_written() -> None:
    assert network("203.0.113.7") == network("::ffff:203.0.113.7")
    assert network("2001:db8:1:2::1") == network("2001:db8:1:2:ffff::9")
    assert network("2001:db8:1:2::1") != network("2001:db8:1:3::1")
    assert network(None) == "unknown"


def test_tries_are_counted_before_they_are_made() -> None:
    throttle, rule = RateLimiter(""), RateLimit("login", 3, 60)
    for _try in range(3):
        throttle.hit(rule, "anna")
    with pytest.raises(Throttled) as caught:
        throttle.hit(rule, "anna")
    assert 0 < caught.value.retry_after <= 60
    throttle.hit(rule, "boris")


def test_one_address_cannot_try_many_logins() -> None:
    throttle = RateLimiter("")
    for number in range(PER_ADDRESS.tries):
        throttle.check_login("203.0.113.7", f"user{number}@example.com", f"smtp{number}.example.com")
    with pytest.raises(Throttled):
        throttle.check_login("203.0.113.7", "another@example.com", "smtp.example.com")


@pytest.fixture(params=["here", "redis", "postgresql"])
def anywhere(request: pytest.FixtureRequest, sessions: Any) -> RateLimiter:
    """Return a rate limiter for each storage of attempts."""
    if request.param == "redis":
        return RateLimiter(request.getfixturevalue("redis_server").url)
    if request.param == "postgresql":
        return RateLimiter("", DatabaseRateLimitStorage(sessions))
    return RateLimiter("")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_only_tries_that_failed_count(anywhere: RateLimiter) -> None:
    def come(number: int) -> tuple[str, str, str]:
        who = ("203.0.113.7", f"user{number}@example.com", "smtp.example.com")
        anywhere.check_login(*who)
        return who

    for number in range(PER_ADDRESS.tries * 2):
        anywhere.forgive(*come(number))
    for number in range(PER_ADDRESS.tries):
        come(number)
    with pytest.raises(Throttled):
        come(99)


def test_many_tries_at_once_count_before_any_of_them_has_succeeded() -> None:
    throttle = RateLimiter("")
    who = [("203.0.113.7", f"user{number}@example.com", "smtp.example.com") for number in range(99)]
    for each in who[: PER_ADDRESS.tries]:
        throttle.check_login(*each)
    with pytest.raises(Throttled):
        throttle.check_login(*who[-1])
    for each in who[: PER_ADDRESS.tries]:
        throttle.forgive(*each)
    throttle.check_login(*who[-1])


def test_a_success_gives_back_no_more_than_it_took() -> None:
    throttle = RateLimiter("")
    who = ("203.0.113.7", "anna@example.com", "smtp.example.com")
    for _time in range(3):
        throttle.forgive(*who)
    for number in range(PER_ADDRESS.tries):
        throttle.check_login("203.0.113.7", f"user{number}@example.com", "smtp.example.com")
    with pytest.raises(Throttled):
        throttle.check_login(*who)


def test_who_signs_in_without_end_at_a_server_that_takes_anything_is_stopped_as_well() -> None:
    throttle = RateLimiter("")
    for number in range(FROM_ONE_PLACE.tries):
        who = ("203.0.113.7", f"user{number}@example.com", "smtp.evil.example")
        throttle.check_login(*who)
        throttle.forgive(*who)
    with pytest.raises(Throttled):
        throttle.check_login(*who)


def test_an_address_that_is_refused_shuts_no_one_else_out() -> None:
    throttle = RateLimiter("")
    for number in range(ALTOGETHER.tries + PER_HOST.tries):
        with suppress(Throttled):
            throttle.check_login("203.0.113.7", f"user{number}@example.com", "smtp.example.com")
    throttle.check_login("198.51.100.1", "anna@example.com", "smtp.example.com")


def test_two_processes_count_together_in_redis(redis_server: Redis) -> None:
    one, two = RateLimiter(redis_server.url), RateLimiter(redis_server.url)
    rule = RateLimit("login", 2, 60)
    one.hit(rule, "anna")
    two.hit(rule, "anna")
    with pytest.raises(Throttled):
        one.hit(rule, "anna")


def test_a_lost_redis_locks_no_user_out_and_still_counts() -> None:
    server = Redis()
    throttle, rule = RateLimiter(server.url), RateLimit("login", 2, 60)
    server.stop()
    throttle.hit(rule, "anna")
    throttle.hit(rule, "anna")
    with pytest.raises(Throttled):
        throttle.hit(rule, "anna")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_processes_count_together_in_the_database_while_redis_is_gone(sessions: Any) -> None:
    server, rule = Redis(), RateLimit("login", 2, 60)
    one, two = (RateLimiter(server.url, DatabaseRateLimitStorage(sessions)) for _process in range(2))
    server.stop()
    one.hit(rule, "anna")
    two.hit(rule, "anna")
    for throttle in (one, two):
        with pytest.raises(Throttled) as caught:
            throttle.hit(rule, "anna")
        assert 0 < caught.value.retry_after <= 60
    one.hit(rule, "boris")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_tries_in_the_database_begin_anew_when_their_time_is_over(sessions: Any) -> None:
    throttle, short, long = (
        RateLimiter("", DatabaseRateLimitStorage(sessions)),
        RateLimit("login", 1, 1),
        RateLimit("host", 1, 60),
    )
    for rule in (short, long):
        throttle.hit(rule, "anna")
    time.sleep(1.1)
    throttle.hit(short, "anna")
    with pytest.raises(Throttled):
        throttle.hit(long, "anna")


# On SQLite a missing table looks like an unavailable database, which has another page.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_broken_page_says_sorry_and_a_number_that_is_in_the_log(
    wsgi_app: Any, app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from sqlalchemy import text

    with wsgi_app.registry["engine"].begin() as connection:
        connection.execute(text("ALTER TABLE account RENAME TO elsewhere"))
    app.set_cookie("mailganer", _session_of(wsgi_app, 1))
    answer = app.get("/settings", status=500)
    number = answer.html.select_one("code.reply").get_text()
    assert "Something went wrong" in answer
    assert number in capsys.readouterr().err
    assert "Traceback" not in answer


def _session_of(wsgi_app: Any, account_id: int) -> str:
    now = int(datetime.now(UTC).timestamp())
    keys = wsgi_app.registry["settings"].secret_keys
    value = [now, now, {"account": account_id, "epoch": 0}]
    return RotatingSerializer(keys).dumps(value).decode()


def test_an_email_is_shown_under_a_policy_of_its_own() -> None:
    from mailganer.web import email_response

    answer = email_response(DummyRequest(), "<script>alert(1)</script>")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "allow-scripts" not in answer.headers["Content-Security-Policy"]


@one_database
def test_an_address_of_a_button_is_no_page(anna: Any) -> None:
    for path in ("/sign-out", "/display-settings", "/settings/log-out-everywhere"):
        assert "Nothing was changed" in anna.get(path, status=405)
