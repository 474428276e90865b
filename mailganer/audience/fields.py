"""A person's fields: their names as variables of letters, their values, how many people have them filled."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement, case, exists, func, select
from sqlalchemy.orm import Session

from ..errors import InputError, _
from ..letters import NEVER_READ, TAGS
from ..models import Import, ImportStatus, Subscriber, SubscriberStatus, list_member

STANDARD: Final = ("email", "first_name", "last_name", "birthday")  # everybody has them, imported or not
MOST_FIELDS: Final = 100
LONGEST_VALUE: Final = 10_000  # characters; a letter's whole output is bounded too
LONGEST_FIELD: Final = 40  # of a field's name
LONGEST_NAME: Final = 200  # of a first or last name: the columns' width

# Names that mean something else: Mailganer's own values in a letter, what an import makes of a column, and
# the words of templates.
_RESERVED: Final = """
    campaign list sender today unsubscribe_url browser_url open_url click_url
    full_name full_name_last_first birthday_day_first birthday_month_first
"""
RESERVED: Final = frozenset(_RESERVED.split()) | NEVER_READ | TAGS

_LETTERS: Final = "абвгдеёжзийклмнопрстуфхцчшщыэюяіїєґў"
_IN_LATIN: Final = "a b v g d e e zh z i y k l m n o p r s t u f h ts ch sh sch y e yu ya i yi ye g u"
_CYRILLIC: Final = dict(zip(_LETTERS, _IN_LATIN.split(), strict=True)) | {"ъ": "", "ь": ""}
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SAMPLE: Final = 5_000  # newest people looked at for names of fields; reading them takes some 30 ms


class Person(Protocol):
    """A ``Subscriber``, or whatever else has the same values."""

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
    """A variable that a letter may name. ``filled`` of ``seen`` people looked at have it."""

    name: str
    filled: int
    seen: int


def subscriber_values(subscriber: Person) -> dict[str, object]:
    """What a letter sees of a person: the standard fields, then each imported one by its name."""
    return {
        **subscriber.fields,
        "email": subscriber.email,
        "first_name": subscriber.first_name,
        "last_name": subscriber.last_name,
        "birthday": subscriber.birthday,
    }


def slug(text: str, taken: Collection[str] = ()) -> str:
    """A name that letters can use, out of a column's heading: "Город доставки" -> "gorod_dostavki"."""
    latin = "".join(_CYRILLIC.get(letter, letter) for letter in text.lower())
    plain = unicodedata.normalize("NFKD", latin).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST_FIELD].rstrip("_") or "field"
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
    """Whether a letter could read a field of this name."""
    return bool(_FIELD.fullmatch(name)) and name not in RESERVED and name not in STANDARD


def clean_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    """Fields as they are kept: names that letters can use, texts without control characters; an empty text
    says that there is nothing. Raises ``InputError``."""
    if len(fields) > MOST_FIELDS:
        raise InputError({"fields": _("There are too many fields: 100 fit.")})
    cleaned: dict[str, str] = {}
    for name, value in fields.items():
        cleaned[name if is_field_name(name) else slug(name, cleaned)] = _clean_field(name, value)
    return cleaned


def _clean_field(name: str, value: Any) -> str:
    text = "" if value is None else clean_value(str(value))
    shown = {"name": name[:LONGEST_FIELD]}
    if len(text) > LONGEST_VALUE:
        raise InputError(
            {"fields": _("The value of “${name}” is too long: 10,000 characters fit.", mapping=shown)}
        )
    if has_control(text, but="\n\t"):
        raise InputError({"fields": _("There are invisible control characters in “${name}”.", mapping=shown)})
    return text


def clean_value(text: str) -> str:
    """Trimmed, with one kind of line break."""
    return text.strip().replace("\r\n", "\n").replace("\r", "\n")


def has_control(text: str, but: str = "") -> bool:
    """Whether there are control characters or line separators other than those in ``but``."""
    return not text.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and character not in but
        for character in text
    )


def known_fields(
    session: Session, account_id: int, list_ids: Sequence[int] | None = None
) -> list[KnownField]:
    """The variables an account's people have, the standard ones first.

    Counted over the newest few thousand people (of these lists, or of all), so that a million cost no more;
    fields of finished imports are named even when nobody in the sample has them. Exact numbers for the
    variables of one letter: :func:`filled_counts`.
    """
    query = select(Subscriber.first_name, Subscriber.last_name, Subscriber.birthday, Subscriber.fields)
    query = query.where(Subscriber.account_id == account_id).order_by(Subscriber.id.desc()).limit(_SAMPLE)
    if list_ids is not None:
        query = query.where(_on_one_of(list_ids))
    filled: Counter[str] = Counter({"first_name": 0, "last_name": 0, "birthday": 0})
    filled.update(dict.fromkeys(_imported_names(session, account_id), 0))
    seen = 0
    for first_name, last_name, birthday, fields in session.execute(query):
        seen += 1
        values = {**fields, "first_name": first_name, "last_name": last_name, "birthday": birthday or ""}
        filled.update(name for name, value in values.items() if str(value).strip())
    own = sorted(name for name in filled if name not in STANDARD)
    return [KnownField("email", seen, seen)] + [
        KnownField(name, filled[name], seen) for name in ("first_name", "last_name", "birthday", *own)
    ]


def filled_counts(
    session: Session, account_id: int, list_ids: Sequence[int], names: Collection[str]
) -> dict[str, int]:
    """How many recipients of these lists have each field filled: exact, in one pass over them."""
    if not names or not list_ids:
        return dict.fromkeys(names, 0)
    ordered = list(names)
    counts = session.execute(
        select(*(func.count(case((is_filled(name), 1))) for name in ordered)).where(
            Subscriber.account_id == account_id,
            Subscriber.status == SubscriberStatus.active,
            _on_one_of(list_ids),
        )
    ).one()
    return dict(zip(ordered, counts, strict=True))


def is_filled(name: str) -> ColumnElement[bool]:
    """Whether a subscriber's field of this name has something in it; a blank is nothing, as in the letter."""
    if name == "birthday":
        return Subscriber.birthday.is_not(None)
    column = text_of(name)
    return column.is_not(None) & (func.trim(column) != "")


def text_of(name: str) -> ColumnElement[str]:
    """A subscriber's field of this name as text."""
    if name in STANDARD:
        return getattr(Subscriber, name)
    return Subscriber.fields[name].as_string()


def _on_one_of(list_ids: Sequence[int]) -> ColumnElement[bool]:
    return exists().where(list_member.c.subscriber_id == Subscriber.id, list_member.c.list_id.in_(list_ids))


def _imported_names(session: Session, account_id: int) -> set[str]:
    mappings = session.scalars(
        select(Import.mapping)
        .where(Import.account_id == account_id, Import.status == ImportStatus.done)
        .order_by(Import.id.desc())
        .limit(MOST_FIELDS)
    )
    return {name for mapping in mappings for name in mapping.values() if is_field_name(name)}
