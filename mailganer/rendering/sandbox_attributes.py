"""Attributes and methods that templates may use."""

from collections.abc import Mapping
from datetime import date, datetime
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2.runtime import Context, LoopContext, Macro

from ..errors import EmailError, _
from . import localized_values, operation_charges
from .operation_charges import Method
from .sandbox_filters import FILTERS, words
from .sandbox_operations import Missing, is_missing, plain

TEXT_METHODS = frozenset(
    words(
        "capitalize casefold count endswith find isalnum isalpha isascii isdecimal isdigit islower "
        "isnumeric isspace istitle isupper lower lstrip partition removeprefix removesuffix replace rfind "
        "rpartition rsplit rstrip split splitlines startswith strip swapcase title upper "
    )
)

_DATE_PARTS = frozenset(words("year month day weekday isoweekday isoformat"))
_NEED_A_YEAR = frozenset(words("year weekday isoweekday"))
_METHOD = (MethodType, BuiltinMethodType)
_METHODS: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, TEXT_METHODS),
    (datetime, frozenset(words("year month day hour minute second weekday isoweekday isoformat date"))),
    (date, _DATE_PARTS),
    (dict, frozenset(words("get items keys values"))),
    ((list, tuple), frozenset(words("count index"))),
    (
        LoopContext,
        frozenset(
            words(
                "index index0 revindex revindex0 first last length depth depth0 previtem nextitem "
                "cycle changed"
            )
        ),
    ),
)


def attribute(value: Any, name: str) -> Any:
    """Return ``value.name`` in an email: an entry, or one of the few harmless methods; else missing."""
    if is_missing(value):
        return Missing(name=name)
    if isinstance(value, Mapping) and name in value:
        entry = value[name]
        return Missing(name=name) if entry is None else entry
    if isinstance(value, int | float) and name in TEXT_METHODS:
        value = plain(value)
    for kind, allowed in _METHODS:
        if isinstance(value, kind):
            if name in allowed:
                if name in _NEED_A_YEAR and isinstance(value, localized_values.DayAndMonth):
                    return Missing(name=name)
                found = getattr(value, name)
                return Method(value, name) if isinstance(found, _METHOD) else found
            break
    if hasattr(value, name):
        raise EmailError(_("Emails cannot use “.${name}” here.", mapping={"name": name[:40]}))
    return Missing(obj=value, name=name)


def call(context: Context, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method from a template. Macros are called elsewhere."""
    if method.name == "replace":
        return FILTERS["replace"](context, method.value, *args, **kwargs)
    return operation_charges.call_method(context, method, args, kwargs)


def callable_in_emails(value: Any) -> bool:
    # Methods were allowed one by one when they were looked up.
    return isinstance(value, Macro | Missing | Method)
