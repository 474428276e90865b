"""Sentences for pydantic's validation errors in a backend's settings, in the user's language."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from typing import Any

from ..errors import _

FILL_IN = _("This field is required.")
UNFIT = _("The format is not valid.")


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
        return _("Enter an email address such as anna@example.com.")
    message = error.args[0] if error.args else UNFIT
    return message if isinstance(message, str) else str(message)


def _choices(context: Mapping[str, Any]) -> str:
    expected = context.get("expected") or context.get("expected_tags", "")
    names = re.findall(r"'([^']*)'|(-?\d[\d.]*)", expected)
    named = ", ".join(word or number for word, number in names) or expected
    return _("Choose one of: ${choices}.", mapping={"choices": named})


def _length(kind: str, context: Mapping[str, Any], value: Any) -> str:
    """Return a sentence about characters for text, secrets included, and about entries for a list."""
    n = context["min_length" if kind in _SHORT else "max_length"]
    if isinstance(value, str | bytes) or kind.startswith(("string_", "bytes_")):
        short, long = _("Enter at least ${n} characters."), _("Enter at most ${n} characters.")
    else:
        short, long = _("Enter at least ${n} entries."), _("Enter at most ${n} entries.")
    return (short if kind in _SHORT else long) % {"n": n}


_SHORT = frozenset({"string_too_short", "bytes_too_short", "too_short"})
_LONG = frozenset({"string_too_long", "bytes_too_long", "too_long", "url_too_long"})
_LIMITS = {
    "greater_than_equal": _("The number must be ${limit} or more."),
    "greater_than": _("The number must be more than ${limit}."),
    "less_than_equal": _("The number must be ${limit} or less."),
    "less_than": _("The number must be less than ${limit}."),
    "multiple_of": _("The number must be a multiple of ${limit}."),
    "decimal_max_digits": _("Enter at most ${limit} digits."),
    "decimal_max_places": _("Enter at most ${limit} decimal places."),
    "decimal_whole_digits": _("Enter at most ${limit} digits before the decimal point."),
    "url_scheme": _("The URL must start with one of: ${limit}."),
}
_NUMBER, _LIST = _("Enter a number."), _("Enter a list.")
_DATE = _("Enter a date such as 2026-12-31.")
_KINDS = {  # the first matching prefix counts
    "int_": _("Enter a whole number."),
    "float_": _NUMBER,
    "finite_number": _NUMBER,
    "decimal_": _NUMBER,
    "fraction_": _NUMBER,
    "complex_": _NUMBER,
    "bool_": _("Choose yes or no."),
    "date_past": _("Enter a date in the past."),
    "datetime_past": _("Enter a date in the past."),
    "date_future": _("Enter a date in the future."),
    "datetime_future": _("Enter a date in the future."),
    "date_": _DATE,
    "datetime_": _("Enter a date and time such as 2026-12-31 18:30."),
    "timezone_naive": _("Enter a time without an offset."),
    "timezone_": _("Enter a date and time with an offset, such as 2026-12-04T10:00:00+03:00."),
    "time_delta_": _("Enter a duration such as 01:30:00."),
    "time_": _("Enter a time such as 18:30."),
    "url_": _("Enter a URL such as https://example.com."),
    "uuid_": _("Enter an identifier such as 123e4567-e89b-12d3-a456-426614174000."),
    "string_type": _("Enter text."),
    "string_unicode": _("Enter text."),
    "string_not_ascii": _("Use only Latin letters, digits and common symbols."),
    "bytes_": _("Enter text."),
    "list_": _LIST,
    "tuple_": _LIST,
    "set_type": _LIST,
    "frozen_set_": _LIST,
    "deque_": _LIST,
    "iterable_": _LIST,
    "dict_": _("Enter an object."),
    "frozen_dict_": _("Enter an object."),
    "mapping_": _("Enter an object."),
    "ordered_dict_": _("Enter an object."),
    "model_": _("Enter an object."),
    "dataclass_": _("Enter an object."),
    "json_": _("Enter valid JSON."),
    "extra_forbidden": _("Unknown field."),
    "ip_": _("Enter an IP address such as 192.0.2.1."),
    "byte_size": _("Enter a size such as 10MB."),
    "path_": _("The file or folder does not exist."),
    "color_": _("Enter a color such as #336699."),
}
