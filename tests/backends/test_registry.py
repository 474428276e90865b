"""The registry of backends: found by entry point, chosen by configuration, validated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mailganer.audience import parse_address
from mailganer.backends import (
    BackendMissing,
    InputError,
    Message,
    Network,
    Outcome,
    Registry,
    SettingsError,
    load_backends,
    new_mailbox,
    normalise_email,
    secret_fields,
    split_settings,
)
from mailganer.backends.gmail import GmailBackend, GmailSettings
from mailganer.backends.maildir import MaildirBackend
from mailganer.backends.providers import PROVIDERS, is_unrelated_host, provider_of_host
from mailganer.backends.smtp import SMTPBackend, SMTPSettings

from ..support.pigeon import KEY, PigeonBackend, PigeonSettings

GOOD = """
from pydantic import BaseModel
from mailganer.backends import Backend, Connection, Receipt, Outcome

class Good(Backend):
    name = "good"
    title = "Good"
    domains = frozenset({"good.example"})
    Settings = type("Settings", (BaseModel,), {})
    def verify(self): pass
    def connect(self): raise NotImplementedError

class Unfinished(Backend):
    name = "unfinished"
    title = "Unfinished"
    Settings = Good.Settings

class Misnamed(Good):
    name = "other"

class Formless(Good):
    name = "formless"
    Settings = dict

something = 42
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A distribution on the path that provides ``name`` from ``target``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "good_backend.py").write_text(GOOD)
    (tmp_path / "exploding_backend.py").write_text("raise RuntimeError('no licence')")
    (tmp_path / "leaving_backend.py").write_text("raise SystemExit(3)")

    def put(name: str, target: str, distribution: str = "") -> None:
        folder = tmp_path / f"{distribution or name}_plugin-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution or name}-plugin\nVersion: 1.0\n"
        )
        (folder / "entry_points.txt").write_text(f"[mailganer.backends]\n{name} = {target}\n")

    return put


def problems(*names: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_backends(names)
    return caught.value.problems


def test_our_own_are_found_and_kept_in_order() -> None:
    registry = load_backends(["gmail", "smtp", "maildir"])
    assert registry.names == ("gmail", "smtp", "maildir")
    assert registry.types == (GmailBackend, SMTPBackend, MaildirBackend)


def test_a_plugin_is_found_by_its_entry_point(install: Callable[..., None]) -> None:
    install("good", "good_backend:Good")
    registry = load_backends(["smtp", "good"])
    assert registry.get("good").title == "Good"
    assert registry.for_email("a@good.example").name == "good"


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("exploding", "exploding_backend:X", "RuntimeError: no licence"),
        ("leaving", "leaving_backend:X", "SystemExit"),
        ("absent", "no_such_module:X", "ModuleNotFoundError"),
        ("absent", "good_backend:Nothing", "AttributeError"),
        ("number", "good_backend:something", "not a subclass"),
        ("unfinished", "good_backend:Unfinished", "connect, verify"),
        ("misnamed", "good_backend:Misnamed", "its name is 'other'"),
        ("formless", "good_backend:Formless", "not a pydantic model"),
    ],
)
def test_a_broken_plugin_is_one_sentence(
    install: Callable[..., None], name: str, target: str, words: str
) -> None:
    install(name, target)
    (sentence,) = problems("smtp", name)
    assert words in sentence
    assert f"{name}-plugin 1.0" in sentence
    assert "\n" not in sentence


def test_a_broken_plugin_that_is_not_enabled_harms_no_one(install: Callable[..., None]) -> None:
    install("exploding", "exploding_backend:X")
    registry = load_backends(["smtp"])
    assert len(registry.problems) == 1
    assert "no licence" in registry.problems[0]


def test_every_problem_is_said_at_once(install: Callable[..., None]) -> None:
    install("exploding", "exploding_backend:X")
    assert len(problems("exploding", "nowhere", "smtp")) == 2
    assert "nowhere" in problems("nowhere")[0]
    assert len(problems()) == 1


def test_two_packages_of_one_name_are_not_chosen_between(install: Callable[..., None]) -> None:
    install("good", "good_backend:Good", "first")
    install("good", "good_backend:Misnamed", "second")
    (sentence,) = problems("good")
    assert "first-plugin 1.0" in sentence
    assert "second-plugin 1.0" in sentence


def test_a_plugin_with_the_members_of_the_contract_and_no_other_can_be_enabled(
    install: Callable[..., None],
) -> None:
    install("pigeon", "tests.support.pigeon:PigeonBackend")
    registry = load_backends(["smtp", "pigeon"])
    backend = registry.open("pigeon", "anna@pigeon.example", {"key": KEY})
    backend.verify()
    with backend.connect() as connection:
        receipts = connection.send_many([Message(1, backend.email, "reader@example.com", b"Hello\r\n")])
        assert [receipt.outcome for receipt in receipts] == [Outcome.accepted]


def test_options_that_a_backend_does_not_read_are_listed_with_the_word_that_was_meant() -> None:
    options = {"maildir": {"foldr": "x", "folder": "y"}, "smtp": {"pigeons": "2"}, "pigeon": {"any": "z"}}
    with pytest.raises(SettingsError) as caught:
        load_backends(["smtp", "maildir"], options)
    misspelt = {problem.split(" ", 1)[0]: problem for problem in caught.value.problems}
    assert set(misspelt) == {"mailganer.backend.maildir.foldr", "mailganer.backend.smtp.pigeons"}
    assert "Did you mean mailganer.backend.maildir.folder?" in misspelt["mailganer.backend.maildir.foldr"]
    assert "depth, hello_name, open_relay" in misspelt["mailganer.backend.smtp.pigeons"]


def test_a_plugin_that_names_no_options_takes_any(install: Callable[..., None]) -> None:
    install("good", "good_backend:Good")
    assert load_backends(["good"], {"good": {"any": "thing"}}).options["good"] == {"any": "thing"}


# Addresses and their backends.


@pytest.fixture
def registry() -> Registry:
    return Registry((GmailBackend, SMTPBackend), {}, Network())


SERVER = {"host": "smtp.evil.example", "port": 465, "security": "tls", "password": "x"}


def test_an_address_finds_its_backend(registry: Registry) -> None:
    assert registry.for_email("Anna@GMAIL.com") is GmailBackend
    assert registry.for_email("anna@googlemail.com") is GmailBackend
    assert registry.for_email("anna@example.com") is SMTPBackend
    with pytest.raises(BackendMissing):
        Registry((GmailBackend,)).for_email("anna@example.com")
    with pytest.raises(BackendMissing, match="gmail, smtp"):
        registry.get("pigeon")


@pytest.mark.parametrize(
    "email", ["victim@gmail.com", "victim@GMAIL.COM", "victim@gmail.com.", "victim@\uff47mail.com"]
)
def test_a_claimed_address_cannot_be_proven_by_another_server(registry: Registry, email: str) -> None:
    with pytest.raises(InputError) as caught:
        registry.open("smtp", email, SERVER)
    assert set(caught.value.fields) == {"email"}


def test_a_claim_counts_only_while_its_backend_is_enabled() -> None:
    assert Registry((SMTPBackend,)).open("smtp", "anna@gmail.com", SERVER).email == "anna@gmail.com"


def test_a_company_may_use_its_own_domain_at_google(registry: Registry) -> None:
    assert registry.open("gmail", "anna@company.example", {"password": "x"}).name == "gmail"


@pytest.mark.parametrize("email", ["", "anna", "anna@", "@x", "a b@c.d", "a@b>\r\nRCPT TO:<x", "a@b c"])
def test_what_is_no_address_is_said_to_be_none(registry: Registry, email: str) -> None:
    for question in (lambda: registry.open("smtp", email, SERVER), lambda: registry.for_email(email)):
        with pytest.raises(InputError) as caught:
            question()
        assert set(caught.value.fields) == {"email"}


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({}, {"host"}),
        ({"host": ""}, {"host"}),
        ({"host": "http://x/"}, {"host"}),
        ({"host": "x.example", "port": "many"}, {"port"}),
        ({"host": "x.example", "port": 70000}, {"port"}),
        ({"host": "x.example", "security": "perhaps"}, {"security"}),
        ({"host": "", "port": "0", "security": ""}, {"host", "port", "security"}),
        ({"host": "x.example", "username": "a\r\nb"}, {"username"}),
    ],
)
def test_every_wrong_field_is_named(registry: Registry, settings: dict[str, Any], fields: set[str]) -> None:
    with pytest.raises(InputError) as caught:
        registry.open("smtp", "anna@example.com", {"password": "Canary-1"} | settings)
    assert set(caught.value.fields) == fields
    assert "Canary-1" not in str(caught.value)


def test_options_of_the_operator_reach_the_backend(tmp_path: Path) -> None:
    registry = Registry((MaildirBackend,), {"maildir": {"folder": str(tmp_path)}})
    backend = registry.open("maildir", "anna@example.com", {"csrf_token": "ignored"})
    backend.verify()
    assert (tmp_path / "anna@example.com" / "new").is_dir()


# Stored settings.


def test_secrets_are_separated_from_what_may_be_shown() -> None:
    assert secret_fields(SMTPSettings) == {"password"}
    assert secret_fields(GmailSettings) == {"password", "refresh_token"}
    settings = SMTPSettings.model_validate(SERVER | {"username": "u"})
    public, secret = split_settings(settings)
    assert public == {"host": "smtp.evil.example", "port": 465, "security": "tls", "username": "u"}
    assert secret == {"password": "x"}
    assert SMTPSettings.model_validate(public | secret) == settings
    assert settings.password == SecretStr("x")


# Guesses.


@pytest.mark.parametrize(
    ("email", "host", "port", "security"),
    [
        ("a@yandex.ru", "smtp.yandex.ru", 465, "tls"),
        ("a@BK.ru", "smtp.mail.ru", 465, "tls"),
        ("a@hotmail.com", "smtp-mail.outlook.com", 587, "starttls"),
        ("a@icloud.com", "smtp.mail.me.com", 587, "starttls"),
        ("a@company.example", "smtp.company.example", 587, "starttls"),
    ],
)
def test_the_form_begins_with_what_is_known(email: str, host: str, port: int, security: str) -> None:
    guess = SMTPBackend.guess(email)
    assert (guess["host"], guess["port"], guess["security"]) == (host, port, security)
    assert guess["username"] == normalise_email(email)


def test_the_known_providers_are_reachable_by_our_own_rules() -> None:
    for provider in PROVIDERS.values():
        assert provider.port in Network().ports
        assert (provider.port == 465) == (provider.security == "tls")
        assert provider_of_host(provider.host) is provider


def test_a_great_provider_is_treated_with_care() -> None:
    known = SMTPBackend("a@company.example", SMTPSettings(host="smtp.yandex.ru", port=465, security="tls"))
    assert known.own_limits().per_day == 500
    assert known.own_limits().max_connections == 1
    other = SMTPBackend("a@company.example", SMTPSettings(host="smtp.company.example"))
    assert other.own_limits() == SMTPBackend.limits


def test_a_plugin_that_does_not_say_who_an_account_is_takes_no_stranger_for_its_owner() -> None:
    def identity(email: str, **settings: str) -> tuple[str, str]:
        return PigeonBackend(email, PigeonSettings.model_validate(settings)).identity()

    mine = identity("anna@pigeon.example", key="old")
    assert mine == ("pigeon", "anna@pigeon.example")
    assert identity("Anna@Pigeon.example", key="new", loft="home") == mine, (
        "a new password is the same person"
    )
    assert identity("boris@pigeon.example") != mine
    elsewhere = identity("anna@pigeon.example", key="old", loft="loft.evil.example")
    assert elsewhere != mine
    assert "old" not in elsewhere[0]
    assert len(identity("anna@pigeon.example", loft="x" * 999)[0]) <= 255
    assert identity("anna@pigeon.example", loft="x" * 999) != identity("anna@pigeon.example", loft="x" * 998)


def test_who_an_account_is() -> None:
    def identity(email: str, **settings: Any) -> tuple[str, str]:
        known = {"host": "mail.example.com", "port": 587} | settings
        return SMTPBackend(email, SMTPSettings.model_validate(known)).identity()

    mine = identity("anna@example.com")
    assert mine == ("mail.example.com", "anna@example.com")
    assert identity("Anna@Example.com", host="MAIL.example.com.", port=465, security="tls") == mine
    assert identity("boss@example.com", username="anna@example.com") == mine, "the login is who it is"
    assert identity("anna@example.com", host="evil.example.com") != mine
    assert identity("anna@example.com", port=2525) != mine, "any user of a host can listen there"


def test_no_provider_is_a_stranger_to_its_own_addresses() -> None:
    for domain, provider in PROVIDERS.items():
        assert not is_unrelated_host(domain, provider.host)
    for domain, host in (
        ("gmail.com", "smtp-relay.gmail.com"),
        ("ya.ru", "smtp.yandex.com"),
        ("hotmail.com", "smtp.office365.com"),
        ("firma.example", "mail.firma.example"),
    ):
        assert not is_unrelated_host(domain, host)


def test_who_sends_a_great_providers_addresses_is_a_stranger_to_them() -> None:
    for domain in ("mail.ru", "gmail.com", "proton.me", "posteo.de"):
        for host in ("smtp.example.net", f"not{domain}", f"{domain}.example.net"):
            assert is_unrelated_host(domain, host)


def test_an_address_of_255_characters_is_one_too_long() -> None:
    longest = "a" * 64 + "@" + f"{'d' * 60}.{'e' * 60}.{'f' * 63}.com"
    assert normalise_email(longest) == longest
    with pytest.raises(InputError):
        normalise_email(longest.replace("@", "@d"))


@pytest.mark.parametrize(
    "email",
    [
        *(".a@b.org", "a.@b.org", "a..b@b.org", "-a@b.org", "a@-b.org", "a@b-.org", "a@1.2.3.4", "a@b.123"),
        *(
            "a@[1.2.3.4]",
            '"a b"@b.org',
            "a@b..org",
            "a@.b.org",
            f"{'a' * 65}@b.org",
            "a,c@b.org",
            "a@b@c.org",
        ),
        *("anna@firma.local", "Anna.B+x@mail.b-c.org", "a_b-@b.org", "anna@mail.test", "o'neil@b.org"),
        *("анна@пример.рф", "anna@пример.рф", "a@b.org"),
    ],
)
def test_mail_accounts_and_subscribers_follow_the_same_rules(email: str) -> None:
    def accepts(parse: Callable[[str], object]) -> bool:
        try:
            parse(email)
        except InputError:
            return False
        return True

    assert accepts(new_mailbox) is accepts(parse_address)


def test_a_pasted_mailto_link_is_the_address_of_a_mail_account() -> None:
    assert new_mailbox(" mailto:anna@B.org") == new_mailbox("MAILTO: anna@b.org") == "anna@b.org"


@pytest.mark.parametrize("email", ["a@b.org?subject=x", "mailto:a@b.org?subject=x", "a@b,org", "a@b/org"])
def test_a_domain_that_no_server_can_have_is_reported_as_an_error_of_the_address(email: str) -> None:
    with pytest.raises(InputError) as found:
        new_mailbox(email)
    assert list(found.value.fields) == ["email"]
    assert "name@example.com" in str(found.value.fields["email"])
