"""Failed attempts by strangers never lock out the owner of a login."""

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mailganer.errors import Throttled
from mailganer.web.rate_limits import ALTOGETHER, ANYWHERE, FEW, PER_ADDRESS, PER_HOST, PER_LOGIN, RateLimiter

ANNA = ("anna@example.com", "smtp.example.com")
STRANGER, HOME = "203.0.113.7", "198.51.100.1"


def fail(throttle: RateLimiter, tries: int, *, networks: int = 1, login: str = ANNA[0]) -> None:
    """Fail to sign in that often, from that many networks."""
    for number in range(tries):
        with suppress(Throttled):
            throttle.check_login(f"203.0.{number % networks}.7", login, ANNA[1])


def test_a_stranger_who_guesses_a_password_is_stopped_and_its_owner_is_not() -> None:
    throttle = RateLimiter("")
    fail(throttle, PER_LOGIN.tries)
    with pytest.raises(Throttled):
        throttle.check_login("203.0.0.7", *ANNA)
    for _mistake in range(PER_LOGIN.tries):
        throttle.check_login(HOME, *ANNA)


def test_guesses_from_many_networks_leave_each_other_network_a_few_tries() -> None:
    throttle = RateLimiter("")
    fail(throttle, ANYWHERE.tries, networks=25)
    for _mistake in range(FEW.tries):
        throttle.check_login(HOME, *ANNA)
    with pytest.raises(Throttled):
        throttle.check_login(HOME, *ANNA)


@pytest.mark.parametrize("rule", [PER_HOST, ALTOGETHER])
def test_failures_of_others_lock_no_whole_provider(rule: Any) -> None:
    throttle = RateLimiter("")
    for number in range(rule.tries):
        network = f"203.0.{number // PER_ADDRESS.tries}.7"
        throttle.check_login(network, f"user{number}@example.com", ANNA[1])
    throttle.check_login(HOME, *ANNA)
    throttle.forgive(HOME, *ANNA)
    for _mistake in range(FEW.tries):
        throttle.check_login(HOME, *ANNA)


def test_a_browser_that_signed_in_before_has_tries_of_its_own_even_beside_the_stranger() -> None:
    throttle = RateLimiter("")
    fail(throttle, ANYWHERE.tries, networks=25)
    for _mistake in range(PER_LOGIN.tries):
        throttle.check_login("203.0.0.7", *ANNA, device="d1")
    with pytest.raises(Throttled):
        throttle.check_login("203.0.0.7", *ANNA, device="d1")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_signed_in_here_signs_in_again_while_a_stranger_beside_is_locked_out(
    app: Any, sign_in: Any, session: Session
) -> None:
    sign_in(app)
    device = app.cookies["mailganer-device"]
    app.reset()
    for _try in range(PER_LOGIN.tries):
        sign_in(app, password="wrong", status=401)
    sign_in(app, status=429)  # the right password, from an unknown browser
    app.set_cookie("mailganer-device", device[:-2] + "xx")
    sign_in(app, status=429)  # a forged cookie
    app.set_cookie("mailganer-device", device)
    sign_in(app)
