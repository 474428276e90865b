"""Settings that are addresses: database, broker, public URL, proxy."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from .reader import SettingReader

LOCAL = {"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]", "*"}  # noqa: S104 - compared with, not bound to


def database_url(reader: SettingReader) -> str:
    value = reader.text("sqlalchemy.url", "Set it, or DATABASE_URI: postgresql+psycopg://user@host/name.")
    if value and _kind_of_database(value) not in {"sqlite", "postgresql"}:
        reader.problems.append(
            "sqlalchemy.url is no address of a database we know: "
            "sqlite:///FILE or postgresql+psycopg://user:password@host/name."
        )
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", value)


def broker_url(reader: SettingReader) -> str:
    value = reader.values.get("celery.broker_url", "")
    if value and not re.match(r"(rediss?|redis\+socket|amqps?)://", value):
        reader.problems.append(
            "celery.broker_url takes redis:// or amqp://, or nothing for the embedded one."
        )
    return value


def public_url(reader: SettingReader, default: str) -> str:
    value = default
    if reader.values.get("mailganer.public_url") or not default:
        hint = "Set it, or PUBLIC_URL, to the address that links in emails point at."
        value = reader.text("mailganer.public_url", hint).rstrip("/")
    if value and not _is_web_address(value):
        reader.problems.append(
            f"mailganer.public_url is {value!r}. Use a URL such as https://mail.example.com."
        )
    elif urlsplit(value).path:
        reader.problems.append(
            f"mailganer.public_url (PUBLIC_URL) is {value!r}. A path is not supported: give "
            "Mailganer a host name of its own, such as https://mail.example.com."
        )
    return value


def trusted_proxy(reader: SettingReader) -> str:
    value = reader.values.get("mailganer.trusted_proxy", "")
    try:
        return value if value in {"", "*"} else str(ip_address(value))
    except ValueError:
        reader.problems.append(
            f"mailganer.trusted_proxy (MAILGANER_TRUSTED_PROXY) is {value!r}. Use one IP address, "
            "without a port, such as 127.0.0.1, or * for any client."
        )
        return ""


def local_url(listen: str) -> str:
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
