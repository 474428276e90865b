"""What every table shares: naming convention, column types, the declarative base."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, LargeBinary, MetaData, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator
from translationstring import TranslationString

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
    """An aware moment. SQLite has no zones: there the same moment is kept as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[StrEnum]):
    """A closed list of words, kept as text: readable in any database tool, cheap to extend."""

    impl = String(16)
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.words(value)


_BEGINS = '{"says": '  # the text of a sentence that is kept with its values


class Sentence(TypeDecorator[str]):
    """A sentence for a person, kept as what it says and not as it reads: whoever looks at it, and they may be
    several, reads it in their own language and time zone. Moments and sentences inside it stay what they are.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return keep_sentence(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or not value.startswith(_BEGINS):
            return value  # plain words
        try:
            meant: str = _meant(json.loads(value))
        except (ValueError, KeyError, TypeError, AttributeError):
            return value  # a server's words that look like ours, of an earlier version
        return meant


def keep_sentence(sentence: str | None) -> str | None:
    """Return the text that a column of sentences holds, for statements that do not know its type."""
    if not isinstance(sentence, TranslationString):
        if sentence is None or not sentence.startswith(_BEGINS):
            return sentence
        sentence = TranslationString("${words}", domain="mailganer", mapping={"words": sentence})
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


BigId = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER PRIMARY KEY counts by itself on SQLite
ByteOrdered = String(320).with_variant(String(320, collation="C"), "postgresql")  # as SQLite orders anyway
Json = JSON().with_variant(JSONB(), "postgresql")
JsonOrNull = JSON(none_as_null=True).with_variant(
    JSONB(none_as_null=True), "postgresql"
)  # None is NULL, not "null"
Token = LargeBinary(16)  # 128 random bits; in addresses as 22 characters of URL-safe base64


class Base(DeclarativeBase):
    metadata = metadata
    type_annotation_map = {datetime: UTCDateTime(), dict[str, Any]: Json, list[str]: Json}  # noqa: RUF012 - SQLAlchemy's own shape
