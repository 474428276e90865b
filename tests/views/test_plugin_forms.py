"""Backend settings with defaults, choices, bounds and optional fields, by page and by API."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from mailganer.accounts import sender_limits
from mailganer.backends import settings_schema
from mailganer.models import Sender
from tests.support.plugins import KEY, OPENED, Priority, Region

EMAIL = "anna@relay.example"
DEFAULTS = {
    "batch": "20",
    "block": "10",
    "speed": "2.5",
    "fee": "0.10",
    "retries": "",
    "pool": "",
    "stream": "outbound",
    "priority": "5",
    "version": "2",
    "tracked": "y",
    "dedicated": "",
    "tags": "news",
    "since": "",
    "webhook_key": "",
}


@pytest.fixture
def ini_values(ini_values: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """With the plugin installed and enabled."""
    folder = tmp_path / "plugin" / "relay_plugin-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: relay-plugin\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[mailganer.backends]\nrelay = tests.support.plugins:RelayBackend\n"
    )
    monkeypatch.syspath_prepend(str(folder.parent))
    OPENED.clear()
    return ini_values | {"mailganer.backends": "gmail smtp maildir relay"}


def form_of(app: Any) -> Any:
    return app.get("/sign-in", {"email": EMAIL}).forms[0]


def filled(form: Any, **values: Any) -> Any:
    needed = {"account": "A-1", "region": "eu", "key": KEY}
    for name, value in (needed | values).items():
        form[name] = value
    return form


def test_the_form_begins_with_the_defaults_and_knows_choices_and_kinds_of_numbers(app: Any) -> None:
    form = form_of(app)
    assert {name: form[name].value for name in DEFAULTS} == DEFAULTS
    assert [word for word, _chosen, _label in form["region"].options] == ["", "eu", "us"]
    assert [word for word, _chosen, _label in form["priority"].options] == ["1", "5"]
    assert [word for word, _chosen, _label in form["dedicated"].options] == ["", "yes", "no"]
    keys = {name: form[name].attrs.get("inputmode") for name in ("batch", "block", "retries", "speed")}
    assert keys == {"batch": "numeric", "block": "numeric", "retries": None, "speed": "decimal"}
    assert {form[name].attrs["type"] for name in keys} == {"text"}  # a typed comma has to reach the server


def test_what_has_to_be_filled_in_is_in_sight_and_the_rest_is_folded(app: Any) -> None:
    page = app.get("/sign-in", {"email": EMAIL})
    folded = page.html.find("details") if hasattr(page, "html") else None
    text = page.text
    before = text.partition("<details")[0]
    assert 'name="account"' in before
    assert 'name="region"' in before
    assert 'name="key"' in before
    assert 'name="batch"' not in before
    assert folded is None or folded.find(attrs={"name": "batch"})


def test_signing_in_with_nothing_but_what_is_needed_takes_the_defaults(app: Any, session: Any) -> None:
    assert filled(form_of(app)).submit().status_int == 303
    settings = OPENED[0]
    assert (settings.account, settings.region, settings.batch) == ("A-1", Region.europe, 20)
    assert (settings.speed, settings.fee, settings.retries) == (2.5, Decimal("0.10"), None)
    assert (settings.pool, settings.stream, settings.priority) == (None, "outbound", Priority.high)
    assert (settings.version, settings.tracked, settings.dedicated) == (2, True, None)
    assert (settings.tags, settings.since, settings.webhook_key) == (["news"], None, None)
    kept = session.scalars(select(Sender)).one().settings
    assert kept["region"] == "eu"
    assert "key" not in kept


def test_every_kind_of_value_can_be_given(app: Any) -> None:
    form = filled(
        form_of(app),
        region="us",
        batch="50",
        speed="0,5",
        fee="1 000.25",
        retries="3",
        stream="",
        priority="1",
        version="1",
        tracked=False,
        dedicated="no",
        tags="news\n offers \n\n",
        since="2020-02-29",
        webhook_key="w",
    )
    assert form.submit().status_int == 303
    settings = OPENED[0]
    assert (settings.region, settings.batch, settings.speed) == (Region.america, 50, 0.5)
    assert (settings.fee, settings.retries, settings.stream) == (Decimal("1000.25"), 3, "")
    assert (settings.priority, settings.version) == (Priority.low, 1)
    assert (settings.tracked, settings.dedicated) == (False, False)
    assert (settings.tags, str(settings.since)) == (["news", "offers"], "2020-02-29")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"account": ""}, "This field is required."),
        ({"account": "A"}, "Enter at least 3 characters."),
        ({"key": "abc"}, "Enter at least 4 characters."),
        ({"block": "7"}, "The number must be a multiple of 5."),
        ({"region": ""}, "This field is required."),
        ({"key": ""}, "This field is required."),
        ({"batch": ""}, "This field is required."),
        ({"batch": "51"}, "The number must be 50 or less."),
        ({"batch": "0"}, "The number must be 1 or more."),
        ({"batch": "many"}, "Enter a whole number."),
        ({"batch": "1,5"}, "Enter a whole number."),
        ({"batch": "2,525"}, "Enter a whole number."),
        ({"batch": "2.000"}, "Enter a whole number."),  # two for some, two thousand for others
        ({"batch": "2 525"}, "The number must be 50 or less."),
        ({"speed": "10"}, "The number must be less than 10"),
        ({"since": "yesterday"}, "Enter a date such as 2026-12-31."),
        ({"region": "us", "pool": "p1"}, "There are no pools in America."),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    app: Any, wrong: dict[str, str], sentence: str
) -> None:
    page = filled(form_of(app), **wrong).submit(status=422)
    assert sentence in page
    assert page.forms[0]["account"].value == wrong.get("account", "A-1")
    assert OPENED == []


def test_what_is_wrong_is_said_in_russian_too(app: Any) -> None:
    russian = {"Accept-Language": "ru"}
    form = app.get("/sign-in", {"email": EMAIL}, headers=russian).forms[0]
    page = filled(form, account="A", block="7", batch="1,5").submit(status=422, headers=russian)
    assert "Введите не\xa0меньше 3 символов." in page
    assert "Число должно делиться на\xa05." in page
    assert "Укажите целое число." in page


def test_a_sender_is_changed_on_its_page_and_an_emptied_field_is_empty(app: Any, session: Any) -> None:
    filled(form_of(app), retries="3", pool="p1", batch="30").submit()
    row = session.scalars(select(Sender)).one()
    session.commit()
    form = next(form for form in app.get(f"/senders/{row.id}").forms.values() if "batch" in form.fields)
    assert (form["region"].value, form["batch"].value, form["retries"].value) == ("eu", "30", "3")
    form["retries"], form["pool"], form["tags"] = "", "", ""
    form.submit(status=303)
    assert (OPENED[-1].retries, OPENED[-1].pool, OPENED[-1].batch) == (None, None, 30)
    assert OPENED[-1].tags == []
    assert OPENED[-1].key.get_secret_value() == KEY


def test_the_words_fit_something_that_is_no_mail_server(app: Any) -> None:
    page = app.get("/sign-in", {"email": EMAIL})
    assert "Mailganer verifies with Relay &amp; Co that you can send from this address." in page.text
    assert "mail server" not in page.text
    page = filled(form_of(app), key="wrong").submit(status=401)
    assert "The relay does not know this key." in page
    assert "Open Relay" in page
    assert "Create an app password" not in page


def test_the_senders_page_knows_nothing_of_passwords_where_there_is_none(app: Any, session: Any) -> None:
    filled(form_of(app)).submit()
    row = session.scalars(select(Sender)).one()
    session.commit()
    page = app.get(f"/senders/{row.id}")
    assert "password" not in page.text.replace('type="password"', "").replace("current-password", "")
    assert "Mail account" not in page.text
    assert "Leave empty to use the limit of Relay &amp; Co." in page.text
    assert "The stored key will be deleted." in page.text
    removal = next(form for form in page.forms.values() if form.action.endswith("/delete"))
    assert "password" not in removal.submit().follow().text


def test_the_api_takes_the_same_settings(app: Any, session: Any, settings: Any, wsgi_app: Any) -> None:
    body = {"email": EMAIL, "account": "A-1", "region": "us", "key": KEY, "batch": 10, "priority": 1}
    app.post_json("/api/v1/login", body, status=200)
    assert (OPENED[0].region, OPENED[0].batch, OPENED[0].priority) == (Region.america, 10, Priority.low)
    wrong = app.post_json("/api/v1/login", body | {"region": "asia", "batch": 99}, status=422).json
    assert {each["field"]: each["message"] for each in wrong["errors"]} == {
        "region": "Choose one of: eu, us.",
        "batch": "The number must be 50 or less.",
    }
    sender = session.scalars(select(Sender)).one()
    assert sender_limits(sender, wsgi_app.registry["backends"]).per_day == 10


def test_a_setting_that_are_unknown_is_named_with_the_likely_one(app: Any, session: Any) -> None:
    body = {"email": EMAIL, "account": "A-1", "region": "us", "key": KEY}
    meant = "Unknown field. Did you mean “batch”?"
    refused = app.post_json("/api/v1/login", body | {"bacth": 5, "zzz": 1}, status=422).json["errors"]
    assert {each["field"]: each["message"] for each in refused} == {
        "bacth": meant,
        "zzz": "Unknown field.",
    }
    assert OPENED == []
    answer = app.post_json("/api/v1/login", body).json
    app.authorization = ("Bearer", answer["token"])
    for ask, address in (
        (app.post_json, "/api/v1/senders"),
        (app.patch_json, f"/api/v1/senders/{answer['sender']['id']}"),
    ):
        for given in ({"bacth": 5}, {"settings": {"bacth": 5}}):
            start = body if ask == app.post_json else {}
            refused = ask(address, start | given, status=422).json["errors"]
            assert refused == [{"field": "bacth", "message": meant}]
    assert len(OPENED) == 1


def settings_of(app: Any, backend: str) -> dict[str, Any]:
    items = app.get("/api/v1/backends").json["items"]
    return {each["name"]: each["settings"] for each in items}[backend]


def test_programs_learn_the_settings_of_each_backend(app: Any) -> None:
    schema = settings_of(app, "relay")
    Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["account", "region", "key"]
    fields = schema["properties"]
    assert {name: fields[name].get("default", "none") for name in fields} == {
        "account": "none",
        "region": "none",
        "key": "none",
        "webhook_key": "none",
        "batch": 20,
        "block": 10,
        "speed": 2.5,
        "fee": "0.10",
        "retries": None,
        "pool": None,
        "stream": "outbound",
        "priority": 5,
        "version": 2,
        "tracked": True,
        "dedicated": None,
        "tags": ["news"],
        "since": None,
    }
    assert (fields["batch"]["minimum"], fields["batch"]["maximum"]) == (1, 50)
    assert (fields["speed"]["exclusiveMinimum"], fields["speed"]["exclusiveMaximum"]) == (0, 10)
    assert schema["$defs"]["Region"]["enum"] == ["eu", "us"]
    assert schema["$defs"]["Priority"]["enum"] == [1, 5]
    assert {name for name, each in fields.items() if each.get("writeOnly")} == {"key", "webhook_key"}
    assert fields["account"]["title"] == "Account number"
    assert KEY not in str(schema)


def test_a_program_signs_in_with_what_the_schema_says_lists_included(app: Any) -> None:
    schema = settings_of(app, "relay")
    body = {"account": "A-1", "region": "eu", "key": KEY, "tags": ["a", "b"], "priority": 1}
    Draft202012Validator(schema).validate(body)
    app.post_json("/api/v1/login", {"email": EMAIL, **body}, status=200)
    assert OPENED[-1].tags == ["a", "b"]
    refused = app.post_json("/api/v1/login", {"email": EMAIL, **body, "pool": ["x"]}, status=422).json
    assert refused["errors"] == [
        {"field": "pool", "message": "Enter a plain value, not a list or an object."}
    ]
    refused = app.post_json("/api/v1/login", {"email": EMAIL, **body, "tags": {"x": 1}}, status=422).json
    assert [each["field"] for each in refused["errors"]] == ["tags"]


def test_every_backend_of_ours_says_its_settings_limits_and_domains(app: Any) -> None:
    items = {each["name"]: each for each in app.get("/api/v1/backends").json["items"]}
    assert list(items) == ["gmail", "smtp", "maildir", "relay"]
    assert "gmail.com" in items["gmail"]["domains"]
    assert items["gmail"]["limits"]["per_day"]
    security = items["smtp"]["settings"]["properties"]["security"]
    assert set(security["enum"]) == {"tls", "starttls", "none"}
    assert items["smtp"]["settings"]["properties"]["password"]["writeOnly"] is True


def test_a_setting_that_no_schema_can_describe_takes_any_value() -> None:
    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        where: Callable[[], int] | None = None
        what: Path = Path("/var")
        plain: int = Field(3, ge=1)

    schema = settings_schema(Odd)
    assert set(schema["properties"]) == {"where", "what", "plain"}
    assert schema["properties"]["plain"]["default"] == 3
