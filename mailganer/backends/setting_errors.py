"""Sentences for pydantic's validation errors in a backend's settings, in the user's language."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from typing import Any

from ..errors import _

FILL_IN = _("Fill this in.")
UNFIT = _("This does not look as it should.")


def sentence(detail: Mapping[str, Any]) -> str:
    """Return the sentence for an error. A validator's own ``ValueError(_("..."))`` is used unchanged.

    An error type of pydantic itself has a ``url``; the message of any other is the author's.
    """
    kind, context, value = detail["type"], detail.get("ctx", {}), detail.get("input")
    if kind == "missing" or value is None or (kind in _SHORT and _is_empty(value)):
        return FILL_IN
    if kind in ("value_error", "assertion_error"):
        return _of_a_validator(context)
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        return _choices(context)
    if kind in _SHORT or kind in _LONG:
        return _length(kind, context, value)
    if kind in _LIMITS:
        limit = str(next(iter(context.values())))
        return _LIMITS[kind] % {"limit": limit}
    for beginning, words in _KINDS.items():
        if kind.startswith(beginning):
            return words
    return UNFIT if "url" in detail else detail["msg"]


def _is_empty(value: Any) -> bool:
    return isinstance(value, Sized) and not len(value)


def _of_a_validator(context: Mapping[str, Any]) -> str:
    error = context.get("error")
    if error is None:  # pydantic's own: ``EmailStr``
        return _("An email address such as anna@example.com is expected.")
    said = error.args[0] if error.args else UNFIT
    return said if isinstance(said, str) else str(said)


def _choices(context: Mapping[str, Any]) -> str:
    expected = context.get("expected") or context.get("expected_tags", "")
    names = re.findall(r"'([^']*)'|(-?\d[\d.]*)", expected)
    named = ", ".join(word or number for word, number in names) or expected
    return _("Choose one of: ${choices}.", mapping={"choices": named})


def _length(kind: str, context: Mapping[str, Any], value: Any) -> str:
    """Return a sentence about characters for text, secrets included, and about entries for a list."""
    n = context["min_length" if kind in _SHORT else "max_length"]
    if isinstance(value, str | bytes) or kind.startswith(("string_", "bytes_")):
        short, long = _("This is shorter than ${n} characters."), _("This is longer than ${n} characters.")
    else:
        short, long = _("Entries needed: ${n} or more."), _("Entries allowed: ${n} at most.")
    return (short if kind in _SHORT else long) % {"n": n}


_SHORT = frozenset({"string_too_short", "bytes_too_short", "too_short"})
_LONG = frozenset({"string_too_long", "bytes_too_long", "too_long", "url_too_long"})
_LIMITS = {
    "greater_than_equal": _("The number must be ${limit} or more."),
    "greater_than": _("The number must be more than ${limit}."),
    "less_than_equal": _("The number must be ${limit} or less."),
    "less_than": _("The number must be less than ${limit}."),
    "multiple_of": _("The number must be a multiple of ${limit}."),
    "decimal_max_digits": _("Digits in all: ${limit} at most."),
    "decimal_max_places": _("Digits after the comma: ${limit} at most."),
    "decimal_whole_digits": _("Digits before the comma: ${limit} at most."),
    "url_scheme": _("The address must begin with one of: ${limit}."),
}
_NUMBER, _LIST = _("A number is expected."), _("A list is expected.")
_DATE = _("A date such as 2026-12-31 is expected.")
_KINDS = {  # the first matching prefix counts
    "int_": _("A whole number is expected."),
    "float_": _NUMBER,
    "finite_number": _NUMBER,
    "decimal_": _NUMBER,
    "fraction_": _NUMBER,
    "complex_": _NUMBER,
    "bool_": _("Yes or no is expected."),
    "date_past": _("A date in the past is expected."),
    "datetime_past": _("A date in the past is expected."),
    "date_future": _("A date in the future is expected."),
    "datetime_future": _("A date in the future is expected."),
    "date_": _DATE,
    "datetime_": _("A date and time such as 2026-12-31 18:30 is expected."),
    "timezone_naive": _("A time without an offset is expected."),
    "timezone_": _("A time with its offset is expected, like 2026-12-04T10:00:00+03:00."),
    "time_delta_": _("A duration such as 01:30:00 is expected."),
    "time_": _("A time of day such as 18:30 is expected."),
    "url_": _("An address such as https://example.com is expected."),
    "uuid_": _("An identifier such as 123e4567-e89b-12d3-a456-426614174000 is expected."),
    "string_type": _("Text is expected."),
    "string_unicode": _("Text is expected."),
    "string_not_ascii": _("Latin letters, digits and plain signs are expected."),
    "bytes_": _("Text is expected."),
    "list_": _LIST,
    "tuple_": _LIST,
    "set_type": _LIST,
    "frozen_set_": _LIST,
    "deque_": _LIST,
    "iterable_": _LIST,
    "dict_": _("An object is expected."),
    "frozen_dict_": _("An object is expected."),
    "mapping_": _("An object is expected."),
    "ordered_dict_": _("An object is expected."),
    "model_": _("An object is expected."),
    "dataclass_": _("An object is expected."),
    "json_": _("JSON is expected."),
    "extra_forbidden": _("There is no such field."),
    "ip_": _("An IP address such as 192.0.2.1 is expected."),
    "byte_size": _("A size such as 10MB is expected."),
    "path_": _("There is no such file or folder."),
    "color_": _("A colour such as #336699 is expected."),
}
