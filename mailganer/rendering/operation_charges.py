"""Cost of each template operation, charged to the ``RenderBudget`` before the operation is run.

A template names its operations and its recipients bring the values, so neither is trusted. Operations that
can be slow in the size of their values (a search, a comparison of nested lists, a sort) are charged their
worst case.
"""

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import ChainableUndefined, Context, Macro

from ..errors import EmailError, _
from . import render_budget
from .render_budget import RenderBudget, RenderTooLarge, budget_of

ITEM = 8  # one item of a list, or one number, costs as much as this many characters
SEARCH = 64  # comparisons of characters for the cost of one character
DEPTH = 100  # nesting of lists

_CONTAINERS = (list, tuple, Mapping, KeysView, ValuesView, ItemsView)
_SIMPLE = (float, date, Decimal, ChainableUndefined, Macro, type(None))


class Method:
    """A method of a template's value, not called yet. Calling it is the only thing it allows."""

    __slots__ = ("name", "value")

    def __init__(self, value: Any, name: str) -> None:
        self.value = value
        self.name = name


def weigh(run: RenderBudget, *values: Any) -> int:
    """Charge for everything in ``values``, however deeply nested, and return the cost.

    A list that is contained twice is charged twice: comparing, hashing and output go through it twice. Raises
    ``RenderTooLarge``; raises ``EmailError`` for a type that templates cannot use.
    """
    flat = deep = 0
    for value in values:
        if isinstance(value, str):
            flat += len(value)
        elif isinstance(value, _CONTAINERS):
            deep += _weigh_deep(run, value)
        else:
            flat += _simple(value)
    run.charge(flat)
    return flat + deep


def _simple(value: Any) -> int:
    if isinstance(value, int):
        return ITEM + value.bit_length() // 8
    if isinstance(value, _SIMPLE):
        return ITEM
    raise EmailError(_("An email can output only text, numbers, dates and lists of them."))


def _weigh_deep(run: RenderBudget, value: Any) -> int:
    total = unpaid = 0
    open_lists = [_items(value)]
    while open_lists:
        for item in open_lists[-1]:
            unpaid += ITEM
            if isinstance(item, str):
                unpaid += len(item)
            elif isinstance(item, _CONTAINERS):
                if len(open_lists) == DEPTH:
                    raise RenderTooLarge(render_budget.DEEP)
                open_lists.append(_items(item))
                break
            else:
                unpaid += _simple(item)
            if unpaid > render_budget.TEXT:
                total, unpaid = total + run.charge(unpaid), 0
        else:
            open_lists.pop()
    return total + run.charge(unpaid)


def _items(value: Any) -> Iterator[Any]:
    return iter(value.items() if isinstance(value, Mapping) else value)


def charge_search(run: RenderBudget, weight: int, sought: int) -> None:
    """Charge for searching something of the size ``sought`` at every position of a text."""
    run.charge(weight * sought // SEARCH)


def charge_hashing(run: RenderBudget, keys: Any) -> None:
    """Charge for putting keys into a dict or a set, one by one.

    Hashes of texts are randomized. Numbers with equal hashes are easy to construct, and each is then compared
    with all before it.
    """
    weigh(run, keys)
    crafted = sum(not isinstance(key, str) for key in keys)
    run.charge(crafted * crafted)


def limited(value: Any, largest: int) -> int:
    """Return a width, a precision or a number of columns. Raises ``RenderTooLarge`` above ``largest``."""
    if isinstance(value, str) and len(value) < 10 and value.isdecimal():
        value = int(value)
    if not isinstance(value, int | float) or not 0 <= value <= largest:
        raise RenderTooLarge(render_budget.LONG_TEXTS)
    return int(value)


# --- methods


def call_method(context: Context, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a method that ``sandbox_attributes.attribute`` allowed."""
    run, value, name = budget_of(context), method.value, method.name
    given = weigh(run, args, kwargs) if args or kwargs else 0
    if isinstance(value, str):
        run.charge(len(value))
        charge_search(run, len(value), given)
    elif isinstance(value, list | tuple):
        weigh(run, value)
    else:
        run.charge(ITEM)
    return charge_result(run, getattr(value, name)(*args, **kwargs))


def charge_result(run: RenderBudget, result: Any) -> Any:
    """Charge for the result of an operation. An iterator is turned into a list of bounded length."""
    if isinstance(result, str):
        run.charge_text(len(result))
    elif isinstance(result, Iterator):
        result = list(islice(result, render_budget.STEPS))
    if isinstance(result, list | tuple):
        run.step(len(result))
    return result


# --- filters and tests

Price = Callable[..., None]
"""Cost of an operation beyond the weight of its values.

Called with the budget, the value, its weight, the weight of the arguments, the positional arguments and the
keyword arguments.
"""


def charged(function: Callable[..., Any], price: Price | None = None) -> Callable[..., Any]:
    """Return a filter or test that charges for value and arguments before, for its result after the call."""
    passed = getattr(getattr(function, "jinja_pass_arg", None), "name", None)

    @pass_context
    def counted(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        run = budget_of(context)
        weight = weigh(run, value)
        given = weigh(run, args, kwargs) if args or kwargs else 0
        if price:
            price(run, value, weight, given, args, kwargs)
        if not passed:
            return charge_result(run, function(value, *args, **kwargs))
        lead = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        return charge_result(run, function(lead[passed], value, *args, **kwargs))

    return counted


def charged_flat(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a test that looks only at the type of its value, at constant cost."""

    @pass_context
    def counted(context: Context, *args: Any, **kwargs: Any) -> Any:
        budget_of(context).charge(ITEM)
        return function(*args, **kwargs)

    return counted


def by_search(run: RenderBudget, value: Any, weight: int, given: int, args: Any, kwargs: Any) -> None:
    charge_search(run, weight, given)


def by_tags(run: RenderBudget, value: Any, weight: int, given: int, args: Any, kwargs: Any) -> None:
    charge_search(run, weight, value.count("<") if isinstance(value, str) else 0)


def by_order(run: RenderBudget, value: Any, weight: int, given: int, args: Any, kwargs: Any) -> None:
    run.charge(weight * weight.bit_length() // 4)
    by_path(run, value, weight, given, args, kwargs)


def by_path(run: RenderBudget, value: Any, weight: int, given: int, args: Any, kwargs: Any) -> None:
    """Charge filters that may read an attribute of each item: ``attribute="address.city"``."""
    if isinstance(value, _CONTAINERS):
        paths = [each for each in (*args, *kwargs.values()) if isinstance(each, str)]
        run.charge(len(value) * sum(ITEM + ITEM * path.count(".") + path.count(",") for path in paths))


def by_keys(run: RenderBudget, value: Any, weight: int, given: int, args: Any, kwargs: Any) -> None:
    by_path(run, value, weight, given, args, kwargs)
    if isinstance(value, _CONTAINERS):
        # The sizes of the attributes are not known yet, so each is charged as a number.
        run.charge(len(value) ** 2 if args or kwargs else 0)
        charge_hashing(run, value)


def by_lines(run: RenderBudget, value: Any, weight: int, given: int, args: Any, kwargs: Any) -> None:
    run.charge((value.count("\n") if isinstance(value, str) else weight) * 80)
