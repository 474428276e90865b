"""Shared by all tables: naming convention, column types, declarative base."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, LargeBinary, MetaData, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator
from translationstring import TranslationString

from ..errors import composed

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime. SQLite has no time zones, so it stores naive UTC there."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class EnumText(TypeDecorator[StrEnum]):
    """A ``StrEnum`` stored as text: readable in any database tool, cheap to extend."""

    impl = String(16)
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.words(value)


_BEGINS = '{"says": '  # prefix of a sentence stored with its values


class Sentence(TypeDecorator[str]):
    """A sentence stored as its message id and values, not as text.

    Each user reads it in their own language and time zone. Datetimes and sentences among the values stay
    such.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return keep_sentence(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or not value.startswith(_BEGINS):
            return value  # plain text
        try:
            meant: str = _meant(json.loads(value))
        except (ValueError, KeyError, TypeError, AttributeError):
            return value  # a reply of a server that looks like a stored sentence, from an earlier version
        return meant


def keep_sentence(sentence: str | None) -> str | None:
    """Return the stored form of a sentence, for statements that do not know the column's type."""
    if not isinstance(sentence, TranslationString):
        if sentence is None or not sentence.startswith(_BEGINS):
            return sentence
        sentence = composed("${words}", {"words": sentence})
    return json.dumps(_kept(sentence), ensure_ascii=False)


def _kept(value: Any) -> Any:
    if isinstance(value, TranslationString):
        parts = {name: _kept(part) for name, part in (value.mapping or {}).items()}
        return {"says": str(value), "domain": value.domain, "parts": parts}
    return {"moment": value.isoformat()} if isinstance(value, datetime) else value


def _meant(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "moment" in value:
        return datetime.fromisoformat(value["moment"])
    parts = {name: _meant(part) for name, part in value["parts"].items()}
    return TranslationString(value["says"], domain=value["domain"], mapping=parts)


# On SQLite only INTEGER PRIMARY KEY is assigned automatically.
BigId = BigInteger().with_variant(Integer, "sqlite")
ByteOrdered = String(320).with_variant(String(320, collation="C"), "postgresql")  # as SQLite orders anyway
Json = JSON().with_variant(JSONB(), "postgresql")
# None is NULL, not "null".
JsonOrNull = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Token = LargeBinary(16)  # 128 random bits; 22 characters of URL-safe base64 in URLs


class Base(DeclarativeBase):
    metadata = metadata
    type_annotation_map = {datetime: UTCDateTime(), dict[str, Any]: Json, list[str]: Json}  # noqa: RUF012 - an SQLAlchemy API
