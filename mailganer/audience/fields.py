"""Fields of subscribers: names as variables of emails, values, and how many subscribers have them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, reduce
from operator import add
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement, Row, String, case, cast, func, or_, select
from sqlalchemy.orm import Session

from ..errors import InputError, _
from ..models import Import, ImportStatus, Subscriber, SubscriberStatus
from ..rendering import NEVER_READ, TAGS
from .birthdays import birthday_value
from .headings import OTHER_NAMES, latin, other_values
from .kept_results import kept_result
from .recipients import on_one_of

STANDARD: Final = ("email", "first_name", "last_name", "birthday")  # every subscriber has these
MOST_FIELDS: Final = 100
LONGEST_VALUE: Final = 10_000  # characters; the whole output of an email is limited too
LONGEST_FIELD: Final = 40  # characters of a field's name
LONGEST_NAME: Final = 200  # of a first or last name: the width of the columns

# Names with another meaning: Mailganer's own values in an email, mapping targets of an import, and the
# keywords of templates.
_RESERVED: Final = """
    campaign list sender today unsubscribe_url browser_url open_url click_url
    full_name full_name_last_first birthday_day_first birthday_month_first
    birthday_year birthday_month birthday_day subscription_status
"""
RESERVED: Final = frozenset(_RESERVED.split()) | NEVER_READ | TAGS

FieldValue = str | bool | int | float
LARGEST_NUMBER: Final = 2**256  # the largest that a template computes with

_INTEGER: Final = re.compile(r"-?(?:0|[1-9]\d{0,14})")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9]\d{0,14})\.\d{1,15}")
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SAMPLE: Final = 5_000  # newest subscribers read to find names of fields; this takes some 30 ms


class FieldOwner(Protocol):
    """A ``Subscriber``, or another object with the same attributes."""

    @property
    def email(self) -> Any: ...
    @property
    def first_name(self) -> Any: ...
    @property
    def last_name(self) -> Any: ...
    @property
    def birthday(self) -> Any: ...
    @property
    def fields(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class KnownField:
    """A variable available to emails. ``filled`` of the ``seen`` sampled subscribers have a value."""

    name: str
    filled: int
    seen: int


def subscriber_values(subscriber: FieldOwner, names: Collection[str]) -> dict[str, object]:
    """Return the values of a subscriber for an email that uses these names.

    These are the standard fields, the imported ones by name, and aliases of the standard ones.
    """
    values: dict[str, object] = {
        **subscriber.fields,
        "email": subscriber.email,
        "first_name": subscriber.first_name,
        "last_name": subscriber.last_name,
        "birthday": birthday_value(subscriber.birthday),
    }
    return values | other_values(values, names)


def slug(text: str, taken: Collection[str] = ()) -> str:
    """Derive a variable name from a column heading: "Город доставки" -> "gorod_dostavki"."""
    name = latin(text)[:LONGEST_FIELD].rstrip("_") or "field"
    if not name[0].isalpha():
        name = f"field_{name}"[:LONGEST_FIELD]
    if name in RESERVED or name in STANDARD:
        name = f"{name[: LONGEST_FIELD - 6]}_field"
    return _untaken(name, taken)


def _untaken(name: str, taken: Collection[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while (tried := f"{name[: LONGEST_FIELD - 4]}_{number}") in taken:
        number += 1
    return tried


def is_field_name(name: str) -> bool:
    """Return whether emails can use a field with this name."""
    return bool(_FIELD.fullmatch(name)) and name not in RESERVED and name not in STANDARD


def clean_fields(fields: Mapping[str, Any]) -> dict[str, FieldValue]:
    """Return fields in the form in which they are stored.

    Names are valid variable names, texts have no control characters, numbers and booleans stay as they are.
    An empty text removes a field. Raise ``InputError``.
    """
    if len(fields) > MOST_FIELDS:
        raise InputError({"fields": _("Too many fields. The maximum is 100.")})
    cleaned: dict[str, FieldValue] = {}
    for name, value in fields.items():
        cleaned[name if is_field_name(name) else slug(name, cleaned)] = _clean_field(name, value)
    return cleaned


def _clean_field(name: str, value: Any) -> FieldValue:
    shown = {"name": name[:LONGEST_FIELD]}
    if isinstance(value, bool | int | float):
        if abs(value) < LARGEST_NUMBER:  # false for NaN too
            return value
        raise InputError({"fields": _("The number in “${name}” is too large.", mapping=shown)})
    text = "" if value is None else clean_value(str(value))
    if len(text) > LONGEST_VALUE:
        raise InputError(
            {
                "fields": _(
                    "The value of “${name}” is too long. The maximum is 10,000 characters.", mapping=shown
                )
            }
        )
    if has_control(text, but="\n\t"):
        raise InputError(
            {"fields": _("“${name}” contains invisible control characters. Remove them.", mapping=shown)}
        )
    return text


def field_text(value: object) -> str:
    """Return a field's value as text for pages, files and forms; ``typed_as`` parses it again."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "" if value is None else str(value)


def typed_as(before: object, text: str) -> FieldValue:
    """Convert a text from a form or a file to the type of the value it replaces, if possible.

    A number from the API that is exported and imported again stays a number; a text stays a text.
    """
    if isinstance(before, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    if isinstance(before, int | float):
        if text == field_text(before):
            return before
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return float(text)
    return text


def is_same(fields: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Return whether values and types are equal: Python considers 1, 1.0 and True equal."""
    return fields == others and all(type(value) is type(others[name]) for name, value in fields.items())


def clean_value(text: str) -> str:
    """Strip a text and normalize its line breaks."""
    return text.strip().replace("\r\n", "\n").replace("\r", "\n")


def has_control(text: str, but: str = "") -> bool:
    """Return whether there are control characters or line separators other than those in ``but``."""
    return not text.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and character not in but
        for character in text
    )


def known_fields(
    session: Session, account_id: int, list_ids: Sequence[int] | None = None
) -> list[KnownField]:
    """Return the variables of an account's subscribers, the standard ones first.

    Counted over the newest few thousand subscribers (of these lists, or of all), so the cost does not grow
    with their number; fields of finished imports are included even if no sampled subscriber has them. For
    exact numbers for the variables of one email, see :func:`filled_counts`.
    """
    seen, counted = kept_result(
        session,
        account_id,
        list_ids or (),
        ("sample", list_ids is None),
        lambda: _sample(session, account_id, list_ids),
    )
    filled: Counter[str] = Counter({"first_name": 0, "last_name": 0, "birthday": 0})
    filled.update(dict.fromkeys(_imported_names(session, account_id), 0))
    filled.update(counted)
    own = sorted(name for name in filled if name not in STANDARD)
    return [KnownField("email", seen, seen)] + [
        KnownField(name, filled[name], seen) for name in ("first_name", "last_name", "birthday", *own)
    ]


def _sample(
    session: Session, account_id: int, list_ids: Sequence[int] | None
) -> tuple[int, Mapping[str, int]]:
    """Return how many subscribers were read, and how many of them have a value for each field."""
    query = select(Subscriber.first_name, Subscriber.last_name, Subscriber.birthday, Subscriber.fields)
    query = query.where(Subscriber.account_id == account_id).order_by(Subscriber.id.desc()).limit(_SAMPLE)
    if list_ids is not None:
        query = query.where(on_one_of(list_ids))
    seen, filled = 0, Counter[str]()
    for first_name, last_name, birthday, fields in session.execute(query):
        seen += 1
        values = {**fields, "first_name": first_name, "last_name": last_name, "birthday": birthday or ""}
        filled.update(name for name, value in values.items() if str(value).strip())
    return seen, filled


ALIKE = 0.8  # how similar a name is to the first word of a field that is meant by it


@dataclass
class KnownNames:
    """Field names of an account's subscribers, loaded once, to find the field meant by a name in an email."""

    session: Session
    account_id: int
    list_ids: Sequence[int] = ()  # the lists of the campaign

    @cached_property
    def has_names(self) -> bool:
        """Return whether no fewer of these subscribers have a field ``name`` than a ``first_name``."""
        fields = known_fields(self.session, self.account_id, self.list_ids)
        filled = {each.name: each.filled for each in fields}
        return 0 < filled.get("name", 0) >= filled["first_name"]

    def likely(self, name: str) -> str:
        """Return the field that a column with this heading was mapped to, or one similar to ``name``.

        ``frist`` is similar to ``first_name`` by that name's first word.
        """
        if found := self.exact(name) or next(iter(get_close_matches(name, self.fields, 1)), ""):
            return found
        by_word = {word: each for each in reversed(self.fields) if (word := each.partition("_")[0]) != each}
        return next((by_word[word] for word in get_close_matches(name, by_word, 1, ALIKE)), "")

    def exact(self, name: str) -> str:
        """Return the field that equals ``name`` as a heading, in capitals or in another alphabet."""
        word = latin(name)
        return self._headings.get(word) or (word if word in self.fields else "")

    @cached_property
    def fields(self) -> list[str]:
        return [each.name for each in known_fields(self.session, self.account_id)]

    @cached_property
    def _headings(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for columns, mapping in _latest_mappings(self.session, self.account_id):
            for number, column in enumerate(columns):
                field = mapping.get(str(number))
                if field:
                    found.setdefault(latin(column), _AS_VARIABLE.get(field, field))
        return found


def filled_counts(
    session: Session, account_id: int, list_ids: Sequence[int], names: Collection[str]
) -> dict[str, int]:
    """Return how many recipients of these lists have a value for each field: exact, in one query."""
    if not names or not list_ids:
        return dict.fromkeys(names, 0)
    ordered = sorted(names)
    return dict(
        kept_result(
            session,
            account_id,
            list_ids,
            ("filled", *ordered),
            lambda: _count_filled(session, account_id, list_ids, ordered),
        )
    )


def _count_filled(
    session: Session, account_id: int, list_ids: Sequence[int], ordered: Sequence[str]
) -> dict[str, int]:
    counts = session.execute(
        select(*(func.count(case((is_filled(name), 1))) for name in ordered)).where(
            Subscriber.account_id == account_id,
            Subscriber.status == SubscriberStatus.active,
            on_one_of(list_ids),
        )
    ).one()
    return dict(zip(ordered, counts, strict=True))


def values_containing(
    session: Session,
    account_id: int,
    list_ids: Sequence[int],
    names: Collection[str],
    texts: Collection[str],
    most: int,
) -> dict[str, set[str]]:
    """Return values with one of these texts, by field, of at most ``most`` recipients of these lists.

    Case is ignored. Only own fields of subscribers are read.
    """
    ordered = sorted(name for name in names if name not in STANDARD)
    if not ordered or not list_ids or not texts:
        return {name: set() for name in ordered}
    found = kept_result(
        session,
        account_id,
        list_ids,
        ("containing", tuple(ordered), frozenset(texts), most),
        lambda: _find_containing(session, account_id, list_ids, ordered, texts, most),
    )
    return {name: set(values) for name, values in found.items()}


def _find_containing(
    session: Session,
    account_id: int,
    list_ids: Sequence[int],
    ordered: Sequence[str],
    texts: Collection[str],
    most: int,
) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {name: set() for name in ordered}
    columns = [func.lower(text_of(name)) for name in ordered]
    wanted = or_(*(column.contains(text.lower(), autoescape=True) for column in columns for text in texts))
    rows = session.execute(
        select(*map(text_of, ordered))
        .where(
            Subscriber.account_id == account_id,
            Subscriber.status == SubscriberStatus.active,
            on_one_of(list_ids),
            wanted,
        )
        .limit(most)
    )
    for row in rows:
        for name, value in zip(ordered, row, strict=True):
            found[name].add(value)
    return found


def is_filled(name: str) -> ColumnElement[bool]:
    """Return the condition that a subscriber has a value for this name; a blank is none, as in the email."""
    if name == "birthday":
        return Subscriber.birthday.is_not(None)
    return func.trim(text_of(name)) != ""


def text_of(name: str) -> ColumnElement[str]:
    """Return the value for this name as text: for measuring, not for display."""
    if name == "birthday":
        return func.coalesce(cast(Subscriber.birthday, String), "")
    if name in STANDARD:
        column: ColumnElement[str] = getattr(Subscriber, name)
        return column
    own = func.coalesce(Subscriber.fields[name].as_string(), "")
    return reduce(add, map(text_of, OTHER_NAMES.get(name, ())), own)


def _imported_names(session: Session, account_id: int) -> set[str]:
    latest = _latest_mappings(session, account_id)
    return {
        name
        for _columns, mapping in latest
        for name in mapping.values()
        if isinstance(name, str) and is_field_name(name)
    }


def _latest_mappings(session: Session, account_id: int) -> Iterable[Row[list[str], dict[str, Any]]]:
    return session.execute(
        select(Import.columns, Import.mapping)
        .where(Import.account_id == account_id, Import.status == ImportStatus.done)
        .order_by(Import.id.desc())
        .limit(MOST_FIELDS)
    )


# Mapping targets of columns that are not names of variables.
_AS_VARIABLE: Final = {
    "full_name": "name",
    "full_name_last_first": "fio",
    "birthday_day_first": "birthday",
    "birthday_month_first": "birthday",
    **dict.fromkeys(("birthday_year", "birthday_month", "birthday_day"), "birthday"),
}
