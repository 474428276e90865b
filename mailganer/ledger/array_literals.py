"""Parameters of bulk statements on PostgreSQL: arrays as text, unnest_arrays into the columns of a table.

The driver takes ten times as long to send a list.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, TableValuedAlias, Text, bindparam, cast, column, func
from sqlalchemy.types import TypeEngine

__all__ = ["array_literal", "unnest_arrays"]


def array_literal(values: Iterable[object]) -> str:
    """Format values as a PostgreSQL array literal; for numbers, booleans and datetimes only."""
    return "{" + ",".join(["NULL" if each is None else str(each) for each in values]) + "}"


def unnest_arrays(_prefix: str = "b", /, **types: TypeEngine[Any]) -> TableValuedAlias:
    """Return arrays written by :func:`array_literal` as a table; parameter ``b_NAME`` is column ``NAME``.

    Tables in one statement need different prefixes.
    """
    arrays = [cast(bindparam(f"{_prefix}_{name}", type_=Text), ARRAY(kind)) for name, kind in types.items()]
    columns = [column(name, kind) for name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name=f"came_{_prefix}").render_derived()
