"""Read ``Settings`` from an ini file, a ``.env`` file beside it and the environment.

The environment overrides ``.env``, and ``.env`` the ini file. All problems are collected and reported at
once, so that installing takes one look, not one restart per mistake.
"""

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dotenv import dotenv_values

from mailganer.errors import SettingsError

from . import addresses, plans, secret_keys, unknown_names
from .ini_file import open_ini
from .keys import BACKEND_OPTION, ENVIRONMENT, MEANINGFUL_WHEN_EMPTY
from .reader import SettingReader
from .types import DEMO_ADDRESS, Settings


def load(ini: str | Path, environ: Mapping[str, str] | None = None, *, create: bool = True) -> Settings:
    """Load settings from ``[app:main]`` in ``ini``, overridden by ``.env`` beside it and by the environment.

    Raise ``SettingsError`` with every problem found. In development a missing secret key is created, or lasts
    for this process only when ``create`` is false.
    """
    path = Path(ini).resolve()
    if not path.is_file():
        raise SettingsError([f"There is no settings file {path}. Name one: mailganer serve PATH.ini"])
    try:
        mapping = dict(open_ini(path).get_settings("app:main"))
    except (LookupError, ValueError, configparser.Error) as error:
        raise SettingsError([f"{path} cannot be read as an ini file: {error}"]) from error
    if not mapping:
        raise SettingsError([f"{path} has no section [app:main]."])
    return from_mapping(mapping, ini=path, environ=environ, create=create)


def from_mapping(
    mapping: Mapping[str, str],
    *,
    ini: Path | None = None,
    environ: Mapping[str, str] | None = None,
    create: bool = True,
) -> Settings:
    """Create settings from ini keys. ``environ`` defaults to the process environment.

    ``create``: see ``load``.
    """
    values = {key: str(value).strip() for key, value in mapping.items()}
    environments = [
        dotenv_values(ini.parent / ".env") if ini else {},
        os.environ if environ is None else environ,
    ]
    for each in environments:
        values |= _from_environment(each)
    reader = SettingReader(values, ini, create)
    unknown_names.check_variables(reader, (name for each in environments for name in each))
    return _read_settings(reader)


def _from_environment(environ: Mapping[str, str | None]) -> dict[str, str]:
    given = {name: value.strip() for name in ENVIRONMENT if (value := environ.get(name)) is not None}
    return {
        ENVIRONMENT[name]: value for name, value in given.items() if value or name in MEANINGFUL_WHEN_EMPTY
    }


def _read_settings(reader: SettingReader) -> Settings:
    plans.rename_old_keys(reader)
    development = reader.flag("mailganer.development")
    data_dir = reader.here / (reader.values.get("mailganer.data_dir") or "var")
    listen = reader.address("mailganer.listen", "127.0.0.1:6543")
    settings = Settings(
        database_url=addresses.database_url(reader),
        public_url=addresses.public_url(reader, addresses.local_url(listen) if development else ""),
        secret_keys=secret_keys.secret_keys(reader, development, data_dir),
        data_dir=data_dir,
        broker_url=addresses.broker_url(reader),
        broker_program=reader.values.get("mailganer.broker_program", ""),
        backends=reader.installed("mailganer.backends", ("gmail", "smtp")),
        backend_options=_backend_options(reader),
        allow_private_smtp_hosts=reader.flag("mailganer.allow_private_smtp_hosts"),
        smtp_ports=_smtp_ports(reader),
        smtp_ca_file=reader.file("mailganer.smtp_ca_file"),
        plans=plans.plans(reader),
        payments=reader.installed("mailganer.payments", ("voucher",)),
        development=development,
        demo=(demo := reader.flag("mailganer.demo")),
        operators=_operators(reader, demo),
        listen=listen,
        catcher=reader.address("mailganer.catcher", "127.0.0.1:2525"),
        trusted_proxy=addresses.trusted_proxy(reader),
        metrics_token=secret_keys.metrics_token(reader),
        grace_seconds=reader.whole("mailganer.grace_seconds", 10),
        latest_start_hours=reader.whole("mailganer.latest_start_hours", 24),
        fast_clock=_fast_clock(reader),
        ini=reader.ini,
        warnings=tuple(reader.warnings),
    )
    unknown_names.check_keys(reader)
    if reader.problems:
        raise SettingsError(reader.problems)
    return _with_kept_secret(settings, reader) if reader.create else settings


def _with_kept_secret(settings: Settings, reader: SettingReader) -> Settings:
    """Return the settings with the secret key of this checkout. Nothing is created for refused settings."""
    keys = secret_keys.secret_keys(reader, settings.development, settings.data_dir, create=True)
    if reader.problems:
        raise SettingsError(reader.problems)
    return replace(settings, secret_keys=keys)


def _backend_options(reader: SettingReader) -> dict[str, dict[str, str]]:
    options: dict[str, dict[str, str]] = {}
    for key, value in reader.values.items():
        if match := BACKEND_OPTION.fullmatch(key):
            options.setdefault(match[1], {})[match[2]] = value
    return options


def _smtp_ports(reader: SettingReader) -> frozenset[int]:
    words = reader.words("mailganer.smtp_ports", ("25", "465", "587", "2525"))
    if not all(word.isdecimal() and 0 < int(word) < 65536 for word in words):
        reader.problems.append("mailganer.smtp_ports takes port numbers: 25 465 587 2525.")
        return frozenset()
    return frozenset(map(int, words))


def _operators(reader: SettingReader, demo: bool) -> frozenset[str]:
    given = reader.words("mailganer.operators", ())
    for address in given:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
            reader.problems.append(f"mailganer.operators names {address!r}; it takes addresses.")
    return frozenset(address.lower() for address in given) | ({DEMO_ADDRESS} if demo else set())


def _fast_clock(reader: SettingReader) -> tuple[datetime, float] | None:
    key = "mailganer.fast_clock"
    value = reader.values.get(key)
    if not value:
        return None
    since, _blank, speed = value.partition(" ")
    try:
        return datetime.fromisoformat(since).astimezone(UTC), max(1.0, float(speed))
    except ValueError:
        reader.problems.append(f"{key} is {value!r}. Use TIME SECONDS, such as 2026-12-04T10:00:00+00:00 60.")
        return None
