"""Filters and tests that templates may use, all bounded."""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Literal

from jinja2 import filters as builtin
from jinja2 import pass_context, pass_eval_context
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.tests import TESTS as BUILTIN_TESTS
from markupsafe import Markup

from ..errors import EmailError, _
from . import localized_values, operation_charges, render_budget
from .operation_charges import charged, charged_flat, limited
from .render_budget import RenderTooLarge, budget_of
from .sandbox_operations import (
    check_size,
    contains,
    format_text,
    is_missing,
    join_texts,
    number,
    plain,
    shortened,
)

Rounding = Literal["common", "ceil", "floor"]


def words(names: str) -> list[str]:
    return names.split()


def _as_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adapt a filter for texts and lists to numbers: a field may hold a number or a text, per subscriber."""
    passed = getattr(function, "jinja_pass_arg", None)

    def converted(*args: Any, **kwargs: Any) -> Any:
        at = 1 if passed else 0
        given = [
            plain(each) if n == at and isinstance(each, int | float) else each for n, each in enumerate(args)
        ]
        return function(*given, **kwargs)

    adapted: Any = converted
    if passed:
        adapted.jinja_pass_arg = passed
    return converted


@pass_context
def default(context: Context, value: Any, otherwise: Any = "", boolean: bool = True) -> Any:
    """Replace what is missing, and also what is empty, as fields often are."""
    budget_of(context).charge(len(value) if isinstance(value, str) else operation_charges.ITEM)
    empty = is_missing(value) or (isinstance(value, str) and not value.strip())
    return otherwise if empty else value


def _replaced(text: str, old: str, new: str, count: int = -1) -> str:
    found = text.count(old) if old else len(text) + 1
    if len(text) + found * len(new) > render_budget.TEXT * 5:
        raise RenderTooLarge(render_budget.LONG_TEXTS)
    return text.replace(old, new, count)


@pass_context
def replace(context: Context, value: Any, old: Any, new: Any, count: int | None = None) -> str:
    old, new = plain(old), plain(new)
    text = value if isinstance(value, str) else plain(value)
    if context.eval_ctx.autoescape and hasattr(old, "__html__") | hasattr(new, "__html__"):
        text = Markup.escape(text)
    return _replaced(text, old, new, -1 if count is None else int(count))


@pass_context
def join(context: Context, value: Any, separator: str = "", attribute: str | int | None = None) -> str:
    items = list(islice(value, render_budget.STEPS))
    if attribute is not None:
        items = [context.environment.getitem(item, attribute) for item in items]
    return join_texts(context, items, plain(separator))


def center(value: Any, width: int = 80) -> str:
    return plain(value).center(limited(width, 1000))


def indent(value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    return builtin.do_indent(plain(value), limited(width, 80), first, blank)


@pass_eval_context
def tojson(context: EvalContext, value: Any, indent: int | None = None) -> Markup:
    return builtin.do_tojson(context, value, None if indent is None else limited(indent, 8))


def batch(value: Any, linecount: int, fill_with: Any = None) -> Iterable[Any]:
    return builtin.do_batch(value, max(limited(linecount, 1000), 1), fill_with)


def slices(value: Any, slices: int, fill_with: Any = None) -> Any:
    return builtin.sync_do_slice(value, max(limited(slices, 1000), 1), fill_with)


def whole(value: Any, default: int = 0, base: int = 10) -> Any:
    return check_size(builtin.do_int(value, default, base))


def round_number(value: Any, precision: int = 0, method: Rounding = "common") -> Any:
    if is_missing(value):
        return value
    found = number(value)
    if found is None:
        raise EmailError(_("“${value}” is not a number.", mapping={"value": shortened(value)}))
    return builtin.do_round(found, limited(precision, 15), method)


def total(value: Any, attribute: str | None = None, start: int = 0) -> Any:
    items = list(islice(value, render_budget.STEPS))
    if attribute is not None:
        items = [item.get(attribute) if isinstance(item, Mapping) else None for item in items]
    numbers = [number(item) for item in items if not is_missing(item)]
    if None in numbers:
        raise EmailError(_("Only numbers can be added up."))
    return sum(found for found in numbers if found is not None) + (number(start) or 0)


@pass_context
def wordwrap(context: Context, value: Any, width: int = 79, break_long_words: bool = True) -> str:
    text, width = plain(value), max(limited(width, 1000), 1)
    # A long word is cut line by line, and its rest is copied each time.
    operation_charges.charge_search(budget_of(context), len(text), len(text) // width)
    return builtin.do_wordwrap(context.environment, text, width, break_long_words, "\n")


@pass_context
def date_filter(context: Context, value: Any, pattern: str = "long", locale: str | None = None) -> Any:
    """Format a date: ``{{ birthday|date("d MMMM") }}``, ``{{ today|date("long", "ru") }}``.

    Also ``{{ today|date("%d.%m.%Y") }}``. What is no date is output unchanged: a field may hold "in spring".
    """
    if is_missing(value):
        return value
    day = localized_values.to_date(value)
    if day is None:
        return value
    return localized_values.format_day(
        day, plain(pattern), _language(locale) if locale else budget_of(context).locale
    )


def _language(name: Any) -> str:
    text = plain(name)
    found = localized_values.locale_of(text)
    if found is None:
        raise EmailError(
            _(
                "Dates cannot be formatted in the language “${name}”. Use a code such as en, ru or de.",
                mapping={"name": shortened(text)},
            )
        )
    return found


@pass_context
def plural_filter(context: Context, value: Any, *forms: Any) -> str:
    """Choose a form: ``n|plural("письмо", "письма", "писем")``, ``n|plural("email", "emails")``."""
    if len(forms) not in (2, 3):
        raise EmailError(_("“plural” needs two forms (email, emails) or three (письмо, письма, писем)."))
    found = number(value)
    if isinstance(value, list | tuple | dict):
        found = len(value)
    texts = tuple(plain(form) for form in forms)
    return localized_values.plural(found or 0, texts, budget_of(context).locale)


_OF_JINJA = (
    "abs capitalize e escape float forceescape items list lower reverse safe string title upper urlencode "
    "wordcount"
)

_OF_TEXTS = "count first last length truncate"
_BY_PATH = "map max min reject rejectattr select selectattr"
FILTERS: dict[str, Callable[..., Any]] = {
    **{name: charged(builtin.FILTERS[name]) for name in words(_OF_JINJA)},
    **{name: charged(_as_text(builtin.FILTERS[name])) for name in words(_OF_TEXTS)},
    **{name: charged(builtin.FILTERS[name], operation_charges.by_path) for name in words(_BY_PATH)},
    "batch": charged(batch),
    "center": charged(center),
    "d": default,
    "date": charged(date_filter),
    "default": default,
    "dictsort": charged(builtin.FILTERS["dictsort"], operation_charges.by_order),
    "format": charged(format_text),
    "indent": charged(indent, operation_charges.by_lines),
    "int": charged(whole),
    "join": charged(join, operation_charges.by_path),
    "plural": charged(plural_filter),
    "replace": charged(replace, operation_charges.by_search),
    "round": charged(round_number),
    "slice": charged(slices),
    "sort": charged(builtin.FILTERS["sort"], operation_charges.by_order),
    "striptags": charged(builtin.FILTERS["striptags"], operation_charges.by_tags),
    "sum": charged(total, operation_charges.by_path),
    "tojson": charged(tojson),
    "trim": charged(builtin.FILTERS["trim"], operation_charges.by_search),
    "unique": charged(builtin.FILTERS["unique"], operation_charges.by_keys),
    "wordwrap": charged(wordwrap),
}


def _divisible(value: Any, by: Any) -> bool:
    if is_missing(value):
        return False
    found, divisor = number(value), number(by)
    if found is None or divisor is None:
        raise EmailError(_("“${value}” is not a number.", mapping={"value": shortened(value)}))
    return bool(check_size(found) % check_size(divisor) == 0)


def _is_even(value: Any) -> bool:
    return _divisible(value, 2)


def _is_odd(value: Any) -> bool:
    return not is_missing(value) and not _is_even(value)


@pass_context
def _within(context: Context, value: Any, values: Any) -> bool:
    return contains(budget_of(context), value, values)


_OF_KIND = (
    "boolean callable defined escaped false float integer iterable mapping none number sameas sequence "
    "string true undefined"
)

_OF_ORDER = "!= < <= == > >= eq equalto ge greaterthan gt le lessthan lt ne"
_BUILTIN_TESTS: dict[str, Any] = dict(BUILTIN_TESTS)
TESTS: dict[str, Callable[..., Any]] = {
    **{name: charged_flat(_BUILTIN_TESTS[name]) for name in words(_OF_KIND)},
    **{name: charged(_BUILTIN_TESTS[name]) for name in words(_OF_ORDER)},
    **{name: charged(_BUILTIN_TESTS[name]) for name in ("filter", "lower", "test", "upper")},
    "divisibleby": charged(_divisible),
    "even": charged(_is_even),
    "in": _within,
    "odd": charged(_is_odd),
}
