"""Operators that templates may use, all bounded, and the output of values.

The fields of a subscriber are texts, even where they hold numbers, and many are empty. So arithmetic and
comparison treat a text that looks like a number as one, and a missing value stays missing: its output is
empty and it never makes an email fail.
"""

import operator
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import ChainableUndefined, Context
from markupsafe import Markup

from ..errors import EmailError, _
from . import localized_values, operation_charges, render_budget
from .operation_charges import weigh
from .render_budget import RenderBudget, RenderTooLarge, budget_of


def _unchanged(value: Any, *args: Any, **kwargs: Any) -> Any:
    return value


_UNCHANGED: Any = _unchanged  # Jinja2 declares that the methods it replaces always raise


class Missing(ChainableUndefined):
    """An undefined value: empty text, false, and unchanged by any operation."""

    __slots__ = ()

    __call__ = _UNCHANGED
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _UNCHANGED
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _UNCHANGED
    __mod__ = __rmod__ = __pow__ = __rpow__ = __neg__ = __pos__ = _UNCHANGED

    def __int__(self) -> Any:
        return 0

    def __float__(self) -> Any:
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
            mapping={"left": shortened(left), "sign": sign, "right": shortened(right)},
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


def shortened(value: object) -> str:
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
                mapping={"left": shortened(left), "right": shortened(right)},
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


# --- filters


_SPECIFIER = re.compile(r"%(?:%|[-+ #0]*\d{0,2}(?:\.\d{0,2})?[sdifgeEGxX])")


def format_text(pattern: Any, *values: Any) -> str:
    """Format ``"%.2f"|format(price)``, with widths of two digits at most; texts may stand for numbers."""
    pattern = plain(pattern)
    specifiers = [match[0] for match in _SPECIFIER.finditer(pattern) if match[0] != "%%"]
    if "%" in _SPECIFIER.sub("", pattern) or len(specifiers) != len(values) or len(specifiers) > 50:
        raise EmailError(
            _("The format “${format}” does not match its values.", mapping={"format": shortened(pattern)})
        )
    if any(is_missing(value) or value == "" for value in values):
        return ""
    given = tuple(
        plain(value) if specifier[-1] == "s" else number(value)
        for specifier, value in zip(specifiers, values, strict=True)
    )
    if None in given:
        raise EmailError(
            _("The format “${format}” does not match its values.", mapping={"format": shortened(pattern)})
        )
    result: str = pattern % given
    if len(result) > render_budget.TEXT * 5:
        raise RenderTooLarge(render_budget.LONG_TEXTS)
    return result
