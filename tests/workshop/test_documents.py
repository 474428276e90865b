"""The documents match the program."""

import re

import pytest
import yaml
from babel.messages.pofile import read_po

from mailganer import backends
from mailganer.errors import SettingsError
from mailganer.settings import ENVIRONMENT, KEYS, load

SECRETS = {
    "DATABASE_URI": "postgresql+psycopg://mailganer@db/mailganer",
    "CELERY_BROKER_URL": "redis://redis:6379/0",
    "SECRET_KEY": "0123456789abcdef" * 4,
    "PUBLIC_URL": "https://letters.example.com",
}


def pages(root):
    return [*root.glob("*.md"), *(root / "docs").rglob("*.md")]


def test_no_link_between_our_pages_is_broken(root):
    broken = [
        f"{page.relative_to(root)} -> {target}"
        for page in pages(root)
        for target in re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_test_that_the_table_of_faults_names_is_there(root):
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", (root / "docs" / "faults.md").read_text())
    assert len(named) > 20
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (root / path).exists() or f"def {name}(" not in (root / path).read_text()
    ]
    assert missing == []


def test_what_the_guide_says_where_to_find_is_there(root):
    table = (root / "docs" / "developing.md").read_text().partition("## Where to find")[2].partition("##")[0]
    places = re.findall(r"\| `(\S+\.py)` \| `(\w+)` \|", table)
    assert len(places) > 5
    missing = [
        f"{path}: {name}"
        for path, name in places
        if not re.search(rf"^(def|class) {name}\b", (root / "mailganer" / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_fault_has_its_row(root):
    rows = re.findall(r"^\| (F\d[^:]*):", (root / "docs" / "faults.md").read_text(), re.MULTILINE)
    told = [
        number
        for row in rows
        for first, last in re.findall(r"F(\d+)(?:-F(\d+))?", row)
        for number in range(int(first), int(last or first) + 1)
    ]
    assert sorted(told) == list(range(1, 49))


def test_every_setting_is_explained(root):
    text = (root / "docs" / "operating.md").read_text()
    assert [key for key in KEYS if f"`{key}`" not in text] == []
    assert [name for name in ENVIRONMENT if f"`{name}`" not in text] == []


def test_every_option_of_our_backends_is_explained(root):
    text = (root / "docs" / "operating.md").read_text()
    table = text.partition("### Options of the backends")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`mailganer\.backend\..+?) \|", table, re.MULTILINE)
    told = set()
    for row in rows:
        backend = row.split(".")[2]
        told |= {(backend, name) for name in re.findall(r"\.(\w+)`", row)}
    read = {
        (path.stem, name)
        for path in (root / "mailganer" / "backends").glob("*.py")
        for name in re.findall(r"self\.options\.get\(\"(\w+)\"", path.read_text())
    }
    assert read == told


def test_every_name_the_guide_for_backends_gives_can_be_imported(root):
    text = (root / "docs" / "writing-a-backend.md").read_text()
    table = text.partition("| name | what it is |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    imported = re.findall(r"^from mailganer\.backends import (.+)$", text, re.MULTILINE)
    named |= {name for line in imported for name in line.split(", ")}
    assert {"Backend", "InputError", "open_socket"} <= named <= set(backends.__all__)


def test_the_readme_begins_with_what_it_is_a_picture_and_two_commands(root):
    screen = (root / "README.md").read_text().splitlines()[:25]
    assert [line for line in screen if line.startswith("![")]
    assert [line for line in screen if line.startswith("make demo")]
    assert [line for line in screen if line.startswith("make test")]
    assert "pip install mailganer" in "\n".join(screen)


def test_the_first_three_minutes_press_buttons_that_are_there(root):
    catalogue = root / "mailganer" / "locale" / "ru" / "LC_MESSAGES" / "mailganer.po"
    with catalogue.open("rb") as file:
        ids = [message.id for message in read_po(file)]
    shown = {text for each in ids for text in ((each,) if isinstance(each, str) else each)}
    section = (
        (root / "README.md").read_text().partition("## The first three minutes")[2].partition("\n## ")[0]
    )
    pressed = {re.sub(r"\b\d+\b", "%(shown)s", name) for name in re.findall(r"\*\*(.+?)\*\*", section)}
    assert len(pressed) > 10
    assert pressed - shown == set()


def test_development_needs_no_setting(root, monkeypatch, tmp_path):
    copy = tmp_path / "development.ini"
    copy.write_text((root / "development.ini").read_text())
    settings = load(copy, environ={})
    assert settings.embedded
    assert settings.development
    assert settings.database_url == f"sqlite:///{tmp_path}/var/mailganer.sqlite"
    assert settings.allow_private_smtp_hosts


def test_production_wants_what_only_the_operator_knows_and_nothing_else(root):
    with pytest.raises(SettingsError) as refused:
        load(root / "production.ini", environ={})
    assert len(refused.value.problems) == 3  # a missing broker is the embedded one
    settings = load(root / "production.ini", environ=SECRETS)
    assert settings.secure
    assert [settings.development, settings.demo, settings.allow_private_smtp_hosts] == [False] * 3
    assert not settings.embedded


def test_both_ini_files_serve_the_web_part_with_the_limits_of_the_program(root):
    from configparser import ConfigParser

    from mailganer.cli.parts import web_options

    for name in ("development.ini", "production.ini"):
        parser = ConfigParser(interpolation=None)
        parser.read(root / name)
        server = parser["server:main"]
        options = web_options(load(root / name, environ=SECRETS))
        for key in ("threads", "max_request_body_size", "channel_timeout", "connection_limit", "listen"):
            assert server[key] == str(options[key]), (name, key)


# docker-compose.yml


@pytest.fixture
def compose(root):
    return yaml.safe_load((root / "docker-compose.yml").read_text())


def test_compose_has_every_part_and_each_says_whether_it_is_well(compose):
    services = compose["services"]
    assert set(services) == {"db", "redis", "migrate", "web", "worker", "beat"}
    assert [name for name, service in services.items() if "healthcheck" not in service] == ["migrate"]


def test_compose_names_only_services_and_volumes_that_are_there(compose):
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= {
            *compose["volumes"],
            "./production.ini",
        }


def test_compose_waits_for_a_database_that_others_can_reach(compose):
    # At its first start the image runs a server on a socket alone, and stops it again.
    asked = compose["services"]["db"]["healthcheck"]["test"]
    assert asked[asked.index("-h") + 1] == "127.0.0.1"


def test_the_containers_read_the_settings_of_the_checkout_where_the_image_looks_for_them(compose, root):
    looked_for = re.search(r"MAILGANER_INI=(\S+)", (root / "Dockerfile").read_text())[1]
    for name in ("migrate", "web", "worker", "beat"):
        assert f"./production.ini:{looked_for}:ro" in compose["services"][name]["volumes"]


def test_the_settings_compose_gives_are_settings_we_know(compose, root):
    environment = compose["services"]["web"]["environment"]
    assert set(environment) <= set(ENVIRONMENT)
    asked = set(re.findall(r"\$\{(\w+)", (root / "docker-compose.yml").read_text()))
    example = (root / ".env.example").read_text()
    assert asked == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_the_image_runs_as_an_ordinary_user(root):
    lines = (root / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER mailganer"]
    assert not [line for line in lines if re.search(r"SECRET|PASSWORD", line)]
