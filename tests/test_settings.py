"""Settings: precedence of sources, and all errors reported at once."""

import copy
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from mailganer.cli.doctor import examine
from mailganer.errors import SettingsError, _
from mailganer.i18n.localized_text import LocalizedText
from mailganer.i18n.translator import translator
from mailganer.settings import from_mapping, load

GOOD = {
    "sqlalchemy.url": "sqlite://",
    "celery.broker_url": "redis://redis:6379/0",
    "mailganer.secret_key": "s" * 64,
    "mailganer.public_url": "https://mail.example.com",
}


def problems(environ: dict[str, str] | None = None, **changed: str) -> tuple[str, ...]:
    """Return the errors of good settings with changes; ``public_url=...`` is ``mailganer.public_url``."""
    values = GOOD | {f"mailganer.{name}": value for name, value in changed.items()}
    with pytest.raises(SettingsError) as caught:
        from_mapping(values, environ=environ or {})
    return caught.value.problems


def test_backends_and_payments_that_are_not_installed_are_listed_with_everything_else() -> None:
    said = problems(secret_key="", backends="smtp pigeon", payments="vouche gold")
    assert [problem.split(" ", 1)[0] for problem in said] == [
        "mailganer.secret_key",
        "mailganer.backends",
        "mailganer.payments",
        "mailganer.payments",
    ]
    assert "There are: gmail, maildir, smtp." in said[1]
    assert "Did you mean voucher?" in said[2]


@pytest.mark.parametrize(
    "url", ["http://[x", "https://example.com:many", "https://example.com:99999", "ftp://x"]
)
def test_an_address_that_is_none_is_a_sentence_beside_the_others(url: str) -> None:
    said = problems(public_url=url, demo="perhaps")
    assert [problem.split(" ", 1)[0] for problem in said] == ["mailganer.public_url", "mailganer.demo"]


def test_an_empty_broker_in_the_environment_is_the_embedded_one() -> None:
    assert not from_mapping(GOOD, environ={}).embedded
    assert from_mapping(GOOD, environ={"CELERY_BROKER_URL": ""}).embedded


def test_an_empty_broker_in_the_env_file_is_the_embedded_one_until_the_environment_names_another(
    tmp_path: Path,
) -> None:
    ini = tmp_path / "test.ini"
    ini.write_text("[app:main]\n" + "".join(f"{key} = {value}\n" for key, value in GOOD.items()))
    (tmp_path / ".env").write_text("CELERY_BROKER_URL=\nPUBLIC_URL=\n")
    assert load(ini, environ={}).embedded
    assert load(ini, environ={"CELERY_BROKER_URL": "amqp://rabbit"}).broker_url == "amqp://rabbit"


@pytest.mark.parametrize("name", ["DATABASE_URI", "SECRET_KEY", "PUBLIC_URL", "MAILGANER_BACKENDS"])
def test_any_other_empty_variable_is_an_unset_one(name: str) -> None:
    assert from_mapping(GOOD, environ={name: ""}) == from_mapping(GOOD, environ={})


def test_a_backend_whose_name_is_misspelt_in_an_option_is_said() -> None:
    (said,) = problems(**{"backend.malidir.folder": "x"})
    assert "Did you mean mailganer.backend.maildir.folder?" in said


def test_an_option_of_a_plugin_that_is_not_there_waits_for_it() -> None:
    values: dict[str, Any] = GOOD | {"mailganer.backend.pigeon.loft": "home"}
    assert from_mapping(values, environ={}).backend_options == {"pigeon": {"loft": "home"}}


def test_a_backend_without_an_option_is_no_setting() -> None:
    (said,) = problems(**{"backend.maildir": "x"})
    assert said.startswith("mailganer.backend.maildir is not a setting we know.")


@pytest.mark.parametrize("name", ["MAILGANER_BACKEND", "MAILGANER_LISTENN", "MAILGANER_WHATEVER"])
def test_an_environment_variable_that_is_misspelt_stops_the_start(name: str, tmp_path: Path) -> None:
    (said,) = problems(environ={name: "smtp"})
    assert said.startswith(f"{name} is not an environment variable we know.")
    if name != "MAILGANER_WHATEVER":
        assert "Did you mean" in said
    ini = tmp_path / "test.ini"
    ini.write_text("[app:main]\n" + "".join(f"{key} = {value}\n" for key, value in GOOD.items()))
    (tmp_path / ".env").write_text(f"{name}=smtp\n")
    with pytest.raises(SettingsError):
        load(ini, environ={})


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8000", "http://localhost:8000"),
        ("0.0.0.0:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://localhost:8000"),
        ("192.168.1.7:8000", "http://192.168.1.7:8000"),
    ],
)
def test_in_development_the_public_address_follows_the_listen_address(listen: str, url: str) -> None:
    ini = Path(__file__).resolve().parents[1] / "development.ini"
    assert load(ini, environ={}).public_url == "http://localhost:6543"
    assert load(ini, environ={"MAILGANER_LISTEN": listen}).public_url == url
    assert load(ini, environ={"MAILGANER_LISTEN": listen, "PUBLIC_URL": "http://x.test"}).host == "x.test"


def test_in_production_the_public_address_has_to_be_given() -> None:
    (said,) = problems(public_url="", listen="127.0.0.1:8000")
    assert said.startswith("mailganer.public_url is missing.")


@pytest.mark.parametrize("value", ["foo", "127.0.0.300", "10.0.0.0/8", "127.0.0.1:80", "10.0.0.1 10.0.0.2"])
def test_a_proxy_that_is_no_ip_address_stops_the_start(value: str) -> None:
    (said,) = problems(environ={"MAILGANER_TRUSTED_PROXY": value})
    assert said.startswith(f"mailganer.trusted_proxy (MAILGANER_TRUSTED_PROXY) is {value!r}. Use one IP")


@pytest.mark.parametrize("value", ["", "*", "127.0.0.1", "::1"])
def test_a_proxy_is_an_ip_address_or_any_client(value: str) -> None:
    assert from_mapping(GOOD, environ={"MAILGANER_TRUSTED_PROXY": value}).trusted_proxy == value


@pytest.mark.parametrize("key", ["listen", "catcher"])
@pytest.mark.parametrize("value", ["127.0.0.1:99999", "127.0.0.1:65536", "127.0.0.1:0", "127.0.0.1", ":80"])
def test_a_port_out_of_range_stops_the_start(key: str, value: str) -> None:
    (said,) = problems(**{key: value})
    assert said.startswith(f"mailganer.{key} is {value!r}. ")


def test_variables_of_commands_are_no_mistake() -> None:
    from_mapping(GOOD, environ={"MAILGANER_INI": "x.ini", "MAILGANER_SMTP_PASSWORD": "secret"})


@pytest.mark.parametrize("url", ["https://example.com/mail", "https://example.com/mail/"])
def test_a_public_address_with_a_path_stops_the_start(url: str) -> None:
    (said,) = problems(public_url=url)
    assert "A path is not supported" in said


PLAN = {"mailganer.plans": "pro", "mailganer.plan.pro.title": "Pro", "mailganer.plan.pro.price": "$9"}


def test_titles_and_prices_of_plans_have_versions_for_languages() -> None:
    versions = {"mailganer.plan.pro.title.ru": "Для дела", "mailganer.plan.pro.price.ru": "900 ₽"}
    settings = from_mapping(GOOD | PLAN | versions, environ={})
    (plan,) = settings.plans
    assert (plan.title, plan.price) == ("Pro", "$9")
    assert [translator("ru").translate(text) for text in (plan.title, plan.price)] == ["Для дела", "900 ₽"]
    assert [translator("en").translate(text) for text in (plan.title, plan.price)] == ["Pro", "$9"]
    assert settings.warnings == ()
    sentence = _("You are on the plan “${plan}” until ${day}.", mapping={"plan": plan.title, "day": ""})
    assert "Для дела" in translator("ru").translate(sentence)
    title = copy.deepcopy(plan).title
    assert isinstance(title, LocalizedText)
    assert title.in_language("ru") == "Для дела"


def test_a_version_for_a_language_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        from_mapping(GOOD | PLAN | {"mailganer.plan.pro.title.xx": "?"}, environ={})
    assert "mailganer.plan.pro.title.xx" in caught.value.problems[0]


def test_the_old_name_of_the_russian_price_is_read_with_a_warning(tmp_path: Path) -> None:
    values = GOOD | PLAN | {"mailganer.plan.pro.price_ru": "900 ₽"}
    settings = from_mapping(values, environ={})
    assert translator("ru").translate(settings.plans[0].price) == "900 ₽"
    assert settings.warnings == (
        "mailganer.plan.pro.price_ru is now called mailganer.plan.pro.price.ru. Rename it.",
    )
    new = from_mapping(values | {"mailganer.plan.pro.price.ru": "990 ₽"}, environ={})
    assert translator("ru").translate(new.plans[0].price) == "990 ₽"
    ini = tmp_path / "test.ini"
    ini.write_text("[app:main]\n" + "".join(f"{key} = {value}\n" for key, value in values.items()))
    first, second = islice(examine(str(ini)), 2)
    assert (second.part, second.well, second.sentence) == ("settings", True, settings.warnings[0])
    assert first.well


def test_reading_a_file_reads_no_metadata_of_installed_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini = tmp_path / "mailganer.ini"
    ini.write_text("[app:main]\nsqlalchemy.url = sqlite:///x\nmailganer.public_url = http://localhost\n")
    read = property(lambda package: pytest.fail(f"it read the metadata of {package}"))
    monkeypatch.setattr(metadata.Distribution, "metadata", read)
    load(ini, {"SECRET_KEY": "0123456789abcdef" * 4})


def test_refused_settings_create_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    values = GOOD | {"mailganer.development": "true", "mailganer.data_dir": str(folder)}
    del values["mailganer.secret_key"]
    with pytest.raises(SettingsError):
        from_mapping(values | {"mailganer.listen": "nowhere"}, environ={})
    assert not folder.exists()
    (key,) = from_mapping(values, environ={}).secret_keys
    assert (folder / "secret_key").read_text() == key
    assert from_mapping(values, environ={}).secret_keys == (key,)
