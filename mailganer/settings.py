"""Read ``Settings`` from an ini file, a ``.env`` file beside it and the environment.

The environment overrides ``.env``, and ``.env`` the ini file. All problems are collected and reported at
once, so that installing takes one look, not one restart per mistake.
"""

import configparser
import difflib
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import entry_points
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from dotenv import dotenv_values
from plaster import get_settings

from .errors import SettingsError
from .i18n.localized_text import LocalizedText

ENVIRONMENT = MappingProxyType(
    {
        "DATABASE_URI": "sqlalchemy.url",
        "CELERY_BROKER_URL": "celery.broker_url",
        "SECRET_KEY": "mailganer.secret_key",
        "PUBLIC_URL": "mailganer.public_url",
        "MAILGANER_BACKENDS": "mailganer.backends",
        "MAILGANER_DATA_DIR": "mailganer.data_dir",
        "MAILGANER_DEMO": "mailganer.demo",
        "MAILGANER_OPERATORS": "mailganer.operators",
        "MAILGANER_LISTEN": "mailganer.listen",
        "MAILGANER_TRUSTED_PROXY": "mailganer.trusted_proxy",
        "MAILGANER_METRICS_TOKEN": "mailganer.metrics_token",
        "MAILGANER_CATCHER": "mailganer.catcher",
        "MAILGANER_SMTP_CA_FILE": "mailganer.smtp_ca_file",
    }
)
"""Environment variable -> ini key."""

OTHER_VARIABLES = frozenset(
    {"MAILGANER_INI", "MAILGANER_PART", "MAILGANER_SMTP_PASSWORD", "MAILGANER_TRACEBACK"}
)
"""Our variables that are not settings: of commands, of docker-compose.yml, of tests."""

SAYS_SO_WHEN_EMPTY = frozenset({"CELERY_BROKER_URL"})
"""Variables with a meaning when empty (the embedded broker).

Of the others an empty one counts as unset: a line of ``.env.example`` that was not filled in.
"""

KEYS = frozenset(ENVIRONMENT.values()) | {
    "mailganer.allow_private_smtp_hosts",
    "mailganer.smtp_ports",
    "mailganer.plans",
    "mailganer.payments",
    "mailganer.development",
    "mailganer.broker_program",
    "mailganer.fast_clock",
    "mailganer.grace_seconds",
    "mailganer.latest_start_hours",
}
PLAN_TEXT = re.compile(r"mailganer\.plan\.[^.]+\.(title|price)\.[\w-]+")  # a text for one language
BACKEND_OPTION = re.compile(r"mailganer\.backend\.([\w-]+)\.(\w+)")  # checked by the backend that reads it
PLAN_OPTIONS = ("title", "per_day", "max_subscribers", "price")
PLAN_TEXTS = ("title", "price")  # may be given for a language: title.ru
OLD_PLAN_OPTIONS = {"price_ru": "price.ru"}  # still read, with a warning
LISTEN_ADDRESS = re.compile(r"(?P<host>[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")
LOCAL = {"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]", "*"}  # noqa: S104 - compared with, not bound to
SHORTEST_SECRET = 32  # characters; a key shorter than 128 bits of hex could be guessed offline from a cookie


@dataclass(frozen=True)
class Plan:
    """Limits of an account. ``None`` means no limit."""

    name: str
    title: str
    per_day: int | None  # emails in any 24 hours
    max_subscribers: int | None
    price: str = ""  # as shown: "1,900 ₽ a month"; empty: free
    # Title and price are ``LocalizedText`` where the operator wrote them for several languages.


NO_LIMITS = Plan("unlimited", "No limits", None, None)
"""The only plan of an installation without ``mailganer.plans``, and the plan of operators."""

DEMO_ADDRESS = "demo@example.com"


@dataclass(frozen=True)
class Settings:
    """All settings of an installation. Created by :func:`load` or :func:`from_mapping`."""

    database_url: str
    public_url: str
    secret_keys: tuple[str, ...]  # newest first
    data_dir: Path
    broker_url: str = ""  # empty: the embedded broker
    broker_program: str = ""  # path of a Redis-compatible server; empty: searched for
    backends: tuple[str, ...] = ("gmail", "smtp")
    backend_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    allow_private_smtp_hosts: bool = False
    smtp_ports: frozenset[int] = frozenset({25, 465, 587, 2525})
    smtp_ca_file: str | None = None
    plans: tuple[Plan, ...] = (NO_LIMITS,)
    operators: frozenset[str] = frozenset()  # addresses in lower case
    payments: tuple[str, ...] = ("voucher",)
    development: bool = False
    demo: bool = False
    listen: str = "127.0.0.1:6543"
    catcher: str = "127.0.0.1:2525"
    trusted_proxy: str = ""
    metrics_token: str = ""  # required for /metrics from anywhere; empty: private networks only
    grace_seconds: int = 10  # between "Send now" on a page and the first email: time to undo a mistake
    # A campaign delayed for longer is paused until its user decides: its news may be outdated.
    latest_start_hours: int = 24
    fast_clock: tuple[datetime, float] | None = None  # start and speed factor; for drills only
    ini: Path | None = None
    warnings: tuple[str, ...] = ()  # about settings that should be changed; none of them stops the start

    @property
    def embedded(self) -> bool:
        """Whether this installation starts its own broker."""
        return not self.broker_url

    @property
    def secure(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def host(self) -> str:
        """The public host name."""
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def has_plans(self) -> bool:
        """Whether accounts can be limited: ``mailganer.plans`` names a plan."""
        return self.plans != (NO_LIMITS,)

    @property
    def uploads(self) -> Path:
        return self.data_dir / "uploads"

    @property
    def journals(self) -> Path:
        return self.data_dir / "journals"

    @property
    def outbox(self) -> Path:
        return self.data_dir / "outbox"

    def plan(self, name: str) -> Plan:
        """Return the plan of this name, or the first one when the name is no longer configured."""
        return next((plan for plan in self.plans if plan.name == name), self.plans[0])


def load(ini: str | Path, environ: Mapping[str, str] | None = None, *, create: bool = True) -> Settings:
    """Load settings from ``[app:main]`` in ``ini``, overridden by ``.env`` beside it and by the environment.

    Raise ``SettingsError`` with every problem found. In development a missing secret key is created, or lasts
    for this process only when ``create`` is false.
    """
    path = Path(ini).resolve()
    if not path.is_file():
        raise SettingsError([f"There is no settings file {path}. Name one: mailganer serve PATH.ini"])
    try:
        mapping = dict(get_settings(str(path), "app:main"))
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
    reader = _Reader(values, ini, create)
    reader.unknown_variables(name for each in environments for name in each)
    return reader.settings()


def _from_environment(environ: Mapping[str, str | None]) -> dict[str, str]:
    given = {name: value.strip() for name in ENVIRONMENT if (value := environ.get(name)) is not None}
    return {ENVIRONMENT[name]: value for name, value in given.items() if value or name in SAYS_SO_WHEN_EMPTY}


class _Reader:
    """Read keys one by one and collect the problems of each."""

    def __init__(self, values: Mapping[str, str], ini: Path | None, create: bool) -> None:
        self.values = dict(values)
        self.ini = ini
        self.create = create
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.here = ini.parent if ini else Path.cwd()

    def settings(self) -> Settings:
        self.rename_old_keys()
        development = self.flag("mailganer.development")
        data_dir = self.here / (self.values.get("mailganer.data_dir") or "var")
        listen = self.address("mailganer.listen", "127.0.0.1:6543")
        settings = Settings(
            database_url=self.database_url(),
            public_url=self.public_url(_local_url(listen) if development else ""),
            secret_keys=self.secret_keys(development, data_dir),
            data_dir=data_dir,
            broker_url=self.broker_url(),
            broker_program=self.values.get("mailganer.broker_program", ""),
            backends=self.installed("mailganer.backends", ("gmail", "smtp")),
            backend_options=self.backend_options(),
            allow_private_smtp_hosts=self.flag("mailganer.allow_private_smtp_hosts"),
            smtp_ports=self.ports(),
            smtp_ca_file=self.file("mailganer.smtp_ca_file"),
            plans=self.plans(),
            payments=self.installed("mailganer.payments", ("voucher",)),
            development=development,
            demo=(demo := self.flag("mailganer.demo")),
            operators=self.operators(demo),
            listen=listen,
            catcher=self.address("mailganer.catcher", "127.0.0.1:2525"),
            trusted_proxy=self.trusted_proxy(),
            metrics_token=self.metrics_token(),
            grace_seconds=self.whole("mailganer.grace_seconds", 10),
            latest_start_hours=self.whole("mailganer.latest_start_hours", 24),
            fast_clock=self.clock("mailganer.fast_clock"),
            ini=self.ini,
            warnings=tuple(self.warnings),
        )
        self.unknown_keys()
        if self.problems:
            raise SettingsError(self.problems)
        return settings

    def text(self, key: str, hint: str) -> str:
        value = self.values.get(key, "")
        if not value:
            self.problems.append(f"{key} is missing. {hint}")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, "false").lower()
        if value in {"true", "yes", "on", "1"}:
            return True
        if value not in {"false", "no", "off", "0", ""}:
            self.problems.append(f"{key} is {value!r}; it takes true or false.")
        return False

    def number(self, key: str) -> int | None:
        value = self.values.get(key, "")
        if value in {"", "unlimited"}:
            return None
        if not value.isdecimal():
            self.problems.append(f"{key} is {value!r}; it takes a whole number, or nothing for no limit.")
            return None
        return int(value)

    def whole(self, key: str, default: int) -> int:
        value = self.values.get(key) or str(default)
        if not value.isdecimal():
            self.problems.append(f"{key} is {value!r}; it takes a whole number, such as {default}.")
            return default
        return int(value)

    def words(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(re.split(r"[\s,]+", self.values[key])) if self.values.get(key) else default

    def installed(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return names of plugins, whose entry-point group is the key.

        They are checked by name, not loaded.
        """
        names, known = self.words(key, default), entry_points(group=key).names
        for name in dict.fromkeys(names):
            if name not in known:
                hint = _meant(name, known) or f" There are: {', '.join(sorted(known)) or 'none'}."
                self.problems.append(f"{key} names “{name}”, which no installed package provides.{hint}")
        return names

    def file(self, key: str) -> str | None:
        value = self.values.get(key)
        if value and not (self.here / value).is_file():
            self.problems.append(f"{key} names {value}, and there is no such file.")
        return str(self.here / value) if value else None

    def address(self, key: str, default: str) -> str:
        value = self.values.get(key) or default
        found = LISTEN_ADDRESS.fullmatch(value)
        if not found:
            self.problems.append(f"{key} is {value!r}; it looks like {default}.")
            return default
        if not 0 < int(found["port"]) < 65536:
            self.problems.append(f"{key} is {value!r}; a port is a number from 1 to 65535, as in {default}.")
        return value

    def trusted_proxy(self) -> str:
        value = self.values.get("mailganer.trusted_proxy", "")
        try:
            return value if value in {"", "*"} else str(ip_address(value))
        except ValueError:
            self.problems.append(
                f"mailganer.trusted_proxy (MAILGANER_TRUSTED_PROXY) is {value!r}; it takes one IP address, "
                "without a port, such as 127.0.0.1, or * for any client."
            )
            return ""

    def metrics_token(self) -> str:
        value = self.values.get("mailganer.metrics_token", "")
        if value and len(value) < SHORTEST_SECRET:
            self.problems.append(
                f"mailganer.metrics_token has {len(value)} character{'' if len(value) == 1 else 's'}; "
                f"it needs {SHORTEST_SECRET} or more."
            )
        return value

    def clock(self, key: str) -> tuple[datetime, float] | None:
        value = self.values.get(key)
        if not value:
            return None
        since, _blank, speed = value.partition(" ")
        try:
            return datetime.fromisoformat(since).astimezone(UTC), max(1.0, float(speed))
        except ValueError:
            self.problems.append(f"{key} is {value!r}; it looks like 2026-12-04T10:00:00+00:00 60.")
            return None

    def database_url(self) -> str:
        value = self.text("sqlalchemy.url", "Set it, or DATABASE_URI: postgresql+psycopg://user@host/name.")
        if value and _kind_of_database(value) not in {"sqlite", "postgresql"}:
            self.problems.append(
                "sqlalchemy.url is no address of a database we know: "
                "sqlite:///FILE or postgresql+psycopg://user:password@host/name."
            )
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", value)

    def broker_url(self) -> str:
        value = self.values.get("celery.broker_url", "")
        if value and not re.match(r"(rediss?|redis\+socket|amqps?)://", value):
            self.problems.append(
                "celery.broker_url takes redis:// or amqp://, or nothing for the embedded one."
            )
        return value

    def public_url(self, default: str) -> str:
        value = default
        if self.values.get("mailganer.public_url") or not default:
            hint = "Set it, or PUBLIC_URL, to the address readers' links point at."
            value = self.text("mailganer.public_url", hint).rstrip("/")
        if value and not _is_web_address(value):
            self.problems.append(
                f"mailganer.public_url is {value!r}; it looks like https://mail.example.com."
            )
        elif urlsplit(value).path:
            self.problems.append(
                f"mailganer.public_url (PUBLIC_URL) is {value!r}. A path is not supported: give "
                "Mailganer a host name of its own, such as https://mail.example.com."
            )
        return value

    def secret_keys(self, development: bool, data_dir: Path) -> tuple[str, ...]:
        keys = self.words("mailganer.secret_key", ())
        if not keys and development:
            return (self.development_secret(data_dir / "secret_key"),)
        if not keys:
            self.problems.append(
                "mailganer.secret_key is missing. Set it, or SECRET_KEY, to a random text: "
                "openssl rand -hex 32."
            )
        if any(len(key) < SHORTEST_SECRET for key in keys):
            self.problems.append(
                f"mailganer.secret_key is shorter than {SHORTEST_SECRET} characters: openssl rand -hex 32."
            )
        return keys

    def development_secret(self, path: Path) -> str:
        try:
            return _development_secret(path) if self.create or path.is_file() else secrets.token_hex(32)
        except OSError as error:
            self.problems.append(
                f"The secret key of this checkout cannot be kept in {path}: {error.strerror}. "
                "Set mailganer.data_dir (MAILGANER_DATA_DIR) to a folder of this system user."
            )
            return ""

    def ports(self) -> frozenset[int]:
        words = self.words("mailganer.smtp_ports", ("25", "465", "587", "2525"))
        if not all(word.isdecimal() and 0 < int(word) < 65536 for word in words):
            self.problems.append("mailganer.smtp_ports takes port numbers: 25 465 587 2525.")
            return frozenset()
        return frozenset(map(int, words))

    def backend_options(self) -> dict[str, dict[str, str]]:
        options: dict[str, dict[str, str]] = {}
        for key, value in self.values.items():
            if match := BACKEND_OPTION.fullmatch(key):
                options.setdefault(match[1], {})[match[2]] = value
        return options

    def plans(self) -> tuple[Plan, ...]:
        names = self.words("mailganer.plans", ())
        if not names:
            return (NO_LIMITS,)
        return tuple(self.plan(name) for name in names)

    def operators(self, demo: bool) -> frozenset[str]:
        addresses = self.words("mailganer.operators", ())
        for address in addresses:
            if not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
                self.problems.append(f"mailganer.operators names {address!r}; it takes addresses.")
        return frozenset(address.lower() for address in addresses) | ({DEMO_ADDRESS} if demo else set())

    def plan(self, name: str) -> Plan:
        prefix = f"mailganer.plan.{name}."
        self.text(prefix + "title", "A plan needs a title.")
        return Plan(
            name,
            self.localized_text(prefix + "title"),
            self.number(prefix + "per_day"),
            self.number(prefix + "max_subscribers"),
            self.localized_text(prefix + "price"),
        )

    def localized_text(self, key: str) -> str:
        """Return the text under ``key``, with its versions for languages: ``key.ru``."""
        versions = {code: text for code in self.languages() if (text := self.values.get(f"{key}.{code}"))}
        text = self.values.get(key) or next(iter(versions.values()), "")
        return LocalizedText(text, versions) if versions else text

    def languages(self) -> tuple[str, ...]:
        """Return the codes of the languages; none where no text is given for a language."""
        if not any(PLAN_TEXT.fullmatch(key) for key in self.values):
            return ()
        from .i18n.languages import (
            language_names,  # loads CLDR data, which most starts of a command do not need
        )

        return tuple(code for code, _name in language_names())

    def rename_old_keys(self) -> None:
        """Read old names of settings as the new ones, with a warning."""
        for name in self.words("mailganer.plans", ()):
            for old, new in OLD_PLAN_OPTIONS.items():
                old_key, new_key = (f"mailganer.plan.{name}.{option}" for option in (old, new))
                if (value := self.values.pop(old_key, None)) is not None:
                    self.values.setdefault(new_key, value)
                    self.warnings.append(f"{old_key} is now called {new_key}. Rename it.")

    def unknown_keys(self) -> None:
        named_plans = self.words("mailganer.plans", ())
        texts = [f"{text}.{code}" for text in PLAN_TEXTS for code in self.languages()]
        options = (*PLAN_OPTIONS, *texts)
        known = KEYS | {f"mailganer.plan.{name}.{option}" for name in named_plans for option in options}
        for key in self.values:
            if option := BACKEND_OPTION.fullmatch(key):
                self.unknown_backend(key, *option.groups())
            elif key.startswith(("mailganer.", "celery.", "sqlalchemy.")) and key not in known:
                self.problems.append(f"{key} is not a setting we know.{_meant(key, known)}")

    def unknown_variables(self, names: Iterable[str]) -> None:
        """Add a problem for each misspelt ``MAILGANER_...`` variable: it would be ignored silently."""
        known = ENVIRONMENT.keys() | OTHER_VARIABLES
        for name in sorted({name for name in names if name.startswith("MAILGANER_")} - known):
            self.problems.append(
                f"{name} is not an environment variable we know.{_meant(name, known)} Correct or remove it."
            )

    def unknown_backend(self, key: str, name: str, option: str) -> None:
        """Add a problem for a misspelt backend name.

        Other unknown names may belong to a plugin not installed now.
        """
        known = entry_points(group="mailganer.backends").names
        if name not in known and (near := difflib.get_close_matches(name, known, n=1)):
            meant = f"mailganer.backend.{near[0]}.{option}"
            self.problems.append(f"{key} is not a setting we know. Did you mean {meant}?")


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _local_url(listen: str) -> str:
    """Return the address under which a browser on this machine opens pages served at ``listen``."""
    host, _colon, port = listen.rpartition(":")
    return f"http://{'localhost' if host in LOCAL else host}:{port}"


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _port = parts.port  # accessing it validates it
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query


def _kind_of_database(url: str) -> str:
    """Return the name of SQLAlchemy's dialect, or "" for an invalid URL."""
    if url.startswith("sqlite:///"):
        return "sqlite"  # without importing SQLAlchemy, half of a small command's time
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).get_backend_name()
    except ArgumentError:
        return ""


def _development_secret(path: Path) -> str:
    """Return a random key of this checkout, created once.

    A published default key would make the cookies of every demo forgeable.
    """
    if path.is_file():
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True)
    key = secrets.token_hex(32)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key)
    except FileExistsError:  # another process of the same start was faster
        return path.read_text().strip()
    return key
