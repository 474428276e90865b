"""Operators, filters and tests that templates may use, all bounded.

The fields of a subscriber are texts, even where they hold numbers, and many are empty. So arithmetic and
comparison treat a text that looks like a number as one, and a missing value stays missing: its output is
empty and it never makes an email fail.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from types import BuiltinMethodType, MethodType
from typing import Any

from jinja2 import filters as builtin
from jinja2 import pass_context, pass_eval_context
from jinja2.nodes import EvalContext
from jinja2.runtime import ChainableUndefined, Context, LoopContext, Macro
from jinja2.tests import TESTS as BUILTIN_TESTS
from markupsafe import Markup

from ..errors import EmailError, _
from . import localized_values, operation_charges, render_budget
from .operation_charges import Method, charged, charged_flat, limited, weigh
from .render_budget import RenderBudget, RenderTooLarge, budget_of


class Missing(ChainableUndefined):
    """An undefined value: empty text, false, and unchanged by any operation."""

    __slots__ = ()

    def _again(self, *args: Any, **kwargs: Any) -> "Missing":
        return self

    __call__ = _again  # type: ignore[assignment]
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _again  # type: ignore[assignment]
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _again  # type: ignore[assignment]
    __mod__ = __rmod__ = __pow__ = __rpow__ = __neg__ = __pos__ = _again  # type: ignore[assignment]

    def __int__(self) -> int:  # type: ignore[override]
        return 0

    def __float__(self) -> float:  # type: ignore[override]
        return 0.0


def is_missing(value: object) -> bool:
    return value is None or isinstance(value, Missing)


_NUMBER = re.compile(r"\s*([-+]?\d{1,30})(?:[.,](\d{1,30}))?\s*")


def number(value: object) -> int | float | None:
    """Return the number that a value is or, as a text, looks like. Russian decimals have a comma."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, str) and (match := _NUMBER.fullmatch(value)):
        return float(f"{match[1]}.{match[2]}") if match[2] else int(match[1])
    return None


# --- operators


def calculate(context: Context, sign: str, left: Any, right: Any) -> Any:
    """Calculate one arithmetic operation. Results that could grow without limit are refused beforehand."""
    weigh(budget_of(context), left, right)
    if is_missing(left) or is_missing(right):
        return left if is_missing(left) else right
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return join_texts(context, [left, right])
    if sign == "+" and isinstance(left, list) and isinstance(right, list):
        budget_of(context).step(len(left) + len(right))
        return left + right
    first, second = number(left), number(right)
    if first is not None and second is not None:
        return check_size(_NUMERIC[sign](check_size(first), check_size(second)))
    if sign == "*" and isinstance(left, str) and isinstance(right, int):
        return repeat(context, left, right)
    if sign == "%" and isinstance(left, str):
        text = format_text(left, *(right if isinstance(right, tuple) else (right,)))
        budget_of(context).charge_text(len(text))
        return text
    raise EmailError(
        _(
            "“${left}” ${sign} “${right}” cannot be computed: both must be numbers.",
            mapping={"left": _short(left), "sign": sign, "right": _short(right)},
        )
    )


def _power(base: int | float, exponent: int | float) -> Any:
    if abs(exponent) > 64 or abs(base) > 10**9:
        raise RenderTooLarge(render_budget.LONG_NUMBERS)
    return base**exponent


_NUMERIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": _power,
}


def check_size(result: Any) -> Any:
    """Return a result that further operations may use. Raises ``RenderTooLarge``."""
    if isinstance(result, int) and result.bit_length() > 256:
        raise RenderTooLarge(render_budget.LONG_NUMBERS)
    if isinstance(result, complex):
        raise EmailError(_("A negative number has no root."))
    return result


def _short(value: object) -> str:
    text = (
        value
        if isinstance(value, str)
        else f"{value}"
        if isinstance(value, int | float)
        else type(value).__name__
    )
    return text if len(text) <= 40 else text[:40] + "…"


def repeat(context: Context, text: str, times: int) -> str:
    if len(text) * max(times, 0) > render_budget.TEXT:
        raise RenderTooLarge(render_budget.LONG_TEXTS)
    budget_of(context).charge_text(len(text) * max(times, 0))
    return text * times


def join_texts(context: Context, pieces: Iterable[Any], separator: str = "") -> str:
    """Join pieces into one text; the result is markup when one of them is, as in Jinja2 itself."""
    pieces = list(pieces)
    weigh(budget_of(context), separator, pieces)
    kept = [piece if isinstance(piece, str) else plain(piece) for piece in pieces]
    size = sum(map(len, kept)) + len(separator) * len(kept)
    if size > render_budget.TEXT * 5:
        raise RenderTooLarge(render_budget.LONG_TEXTS)
    budget_of(context).charge_text(size)
    if any(hasattr(piece, "__html__") for piece in (separator, *kept)):
        # A separator that is plain text is escaped like the rest.
        return Markup.escape(separator).join(kept)
    return separator.join(kept)


_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}


def compare(run: RenderBudget, left: Any, sign: str, right: Any) -> bool:
    """Compare two values: "12" equals 12, a date equals its text, and a missing value is empty."""
    if sign in ("in", "notin"):
        return contains(run, left, right) == (sign == "in")
    weigh(run, left, right)
    if sign in ("eq", "ne"):
        left, right = ("" if is_missing(side) else side for side in (left, right))
    elif is_missing(left) or is_missing(right) or left == "" or right == "":
        return False
    elif isinstance(left, localized_values.DayAndMonth) or isinstance(right, localized_values.DayAndMonth):
        return False  # without a year a birthday is neither earlier nor later than anything
    if isinstance(left, str) != isinstance(right, str):
        left, right = _alike(left, right)
    try:
        return bool(_ORDER[sign](left, right))
    except TypeError:
        raise EmailError(
            _(
                "“${left}” and “${right}” cannot be compared.",
                mapping={"left": _short(left), "right": _short(right)},
            )
        ) from None


def contains(run: RenderBudget, sought: Any, values: Any) -> bool:
    """Return ``sought in values``. An undefined value is contained in no text."""
    wanted, weight = weigh(run, sought), weigh(run, values)
    if isinstance(values, str):
        operation_charges.charge_search(run, weight, wanted)
        if is_missing(sought):
            return False
    return sought in values


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    for side in (left, right):
        if isinstance(side, bool):
            return str(left).lower(), str(right).lower()
        if isinstance(side, int | float):
            numbers = number(left), number(right)
            return numbers if None not in numbers else (left, right)
        if isinstance(side, datetime):
            return _datetime_text(left), _datetime_text(right)
        if isinstance(side, date):
            return _date_text(left), _date_text(right)
    return left, right


def _datetime_text(value: Any) -> Any:
    return value.isoformat(" ") if isinstance(value, datetime) else value


def _date_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


# --- output

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\U0010ff00-\U0010ffff]")


def clean(text: str) -> str:
    r"""Normalize line ends to LF; remove control characters, surrogates and our private-use characters."""
    if text.isprintable():
        return text
    kind = type(text)
    if "\r" in text:
        text = str(text).replace("\r\n", "\n").replace("\r", "\n")
    return kind(_UNPRINTABLE.sub("", text))


def plain(value: object) -> str:
    """Return a value as text. Lists are joined by commas; other objects (a macro, a loop) are refused."""
    if isinstance(value, str):
        return clean(value)
    if is_missing(value):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, int | float | Decimal | date):
        return str(value)
    if isinstance(value, list | tuple):
        return _enumerate(value)
    raise EmailError(_("An email can output only text, numbers, dates and lists of them."))


def _enumerate(values: list[object] | tuple[object, ...]) -> str:
    texts, size = [], 0
    for value in values:
        if isinstance(value, list | tuple):
            raise EmailError(_("An email can output only text, numbers, dates and lists of them."))
        texts.append(plain(value))
        size += len(texts[-1]) + 2
        if size > render_budget.TEXT:
            raise RenderTooLarge(render_budget.LONG_TEXTS)
    return ", ".join(texts)


@pass_context
def finalize(context: Context, value: object) -> str:
    """Return the text of a value that is output, and charge for it."""
    run = budget_of(context)
    if not isinstance(value, str):
        weigh(run, value)
    text = value if type(value) is str and value.isprintable() else plain(value)
    run.charge_output(len(text))
    return text


# --- methods and attributes


def _words(names: str) -> list[str]:
    return names.split()


_TEXT_METHODS = frozenset(
    _words(
        "capitalize casefold count endswith find isalnum isalpha isascii isdecimal isdigit islower "
        "isnumeric isspace istitle isupper lower lstrip partition removeprefix removesuffix replace rfind "
        "rpartition rsplit rstrip split splitlines startswith strip swapcase title upper "
    )
)
_DATE_PARTS = frozenset(_words("year month day weekday isoweekday isoformat"))
_NEED_A_YEAR = frozenset(_words("year weekday isoweekday"))
_METHOD = (MethodType, BuiltinMethodType)
_METHODS: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, _TEXT_METHODS),
    (datetime, frozenset(_words("year month day hour minute second weekday isoweekday isoformat date"))),
    (date, _DATE_PARTS),
    (dict, frozenset(_words("get items keys values"))),
    ((list, tuple), frozenset(_words("count index"))),
    (
        LoopContext,
        frozenset(
            _words(
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
    if isinstance(value, int | float) and name in _TEXT_METHODS:
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


# --- filters


def _as_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adapt a filter for texts and lists to numbers: a field may hold a number or a text, per subscriber."""
    passed = getattr(function, "jinja_pass_arg", None)

    def converted(*args: Any, **kwargs: Any) -> Any:
        at = 1 if passed else 0
        given = [
            plain(each) if n == at and isinstance(each, int | float) else each for n, each in enumerate(args)
        ]
        return function(*given, **kwargs)

    if passed:
        converted.jinja_pass_arg = passed  # type: ignore[attr-defined]
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


def round_number(value: Any, precision: int = 0, method: str = "common") -> Any:
    if is_missing(value):
        return value
    found = number(value)
    if found is None:
        raise EmailError(_("“${value}” is not a number.", mapping={"value": _short(value)}))
    return builtin.do_round(found, limited(precision, 15), method)  # type: ignore[arg-type]


def total(value: Any, attribute: str | None = None, start: int = 0) -> Any:
    items = list(islice(value, render_budget.STEPS))
    if attribute is not None:
        items = [item.get(attribute) if isinstance(item, Mapping) else None for item in items]
    numbers = [number(item) for item in items if not is_missing(item)]
    if None in numbers:
        raise EmailError(_("Only numbers can be added up."))
    return sum(found for found in numbers if found is not None) + (number(start) or 0)


_SPECIFIER = re.compile(r"%(?:%|[-+ #0]*\d{0,2}(?:\.\d{0,2})?[sdifgeEGxX])")


def format_text(pattern: Any, *values: Any) -> str:
    """Format ``"%.2f"|format(price)``, with widths of two digits at most; texts may stand for numbers."""
    pattern = plain(pattern)
    specifiers = [match[0] for match in _SPECIFIER.finditer(pattern) if match[0] != "%%"]
    if "%" in _SPECIFIER.sub("", pattern) or len(specifiers) != len(values) or len(specifiers) > 50:
        raise EmailError(
            _("The format “${format}” does not match its values.", mapping={"format": _short(pattern)})
        )
    if any(is_missing(value) or value == "" for value in values):
        return ""
    given = tuple(
        plain(value) if specifier[-1] == "s" else number(value)
        for specifier, value in zip(specifiers, values, strict=True)
    )
    if None in given:
        raise EmailError(
            _("The format “${format}” does not match its values.", mapping={"format": _short(pattern)})
        )
    result: str = pattern % given
    if len(result) > render_budget.TEXT * 5:
        raise RenderTooLarge(render_budget.LONG_TEXTS)
    return result


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
                mapping={"name": _short(text)},
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
    **{name: charged(builtin.FILTERS[name]) for name in _words(_OF_JINJA)},
    **{name: charged(_as_text(builtin.FILTERS[name])) for name in _words(_OF_TEXTS)},
    **{name: charged(builtin.FILTERS[name], operation_charges.by_path) for name in _words(_BY_PATH)},
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


# --- tests


def _divisible(value: Any, by: Any) -> bool:
    if is_missing(value):
        return False
    found, divisor = number(value), number(by)
    if found is None or divisor is None:
        raise EmailError(_("“${value}” is not a number.", mapping={"value": _short(value)}))
    return bool(check_size(found) % check_size(divisor) == 0)


def _even(value: Any) -> bool:
    return _divisible(value, 2)


def _odd(value: Any) -> bool:
    return not is_missing(value) and not _even(value)


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
    **{name: charged_flat(_BUILTIN_TESTS[name]) for name in _words(_OF_KIND)},
    **{name: charged(_BUILTIN_TESTS[name]) for name in _words(_OF_ORDER)},
    **{name: charged(_BUILTIN_TESTS[name]) for name in ("filter", "lower", "test", "upper")},
    "divisibleby": charged(_divisible),
    "even": charged(_even),
    "in": _within,
    "odd": charged(_odd),
}
