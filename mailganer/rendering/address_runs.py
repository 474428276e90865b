"""Parts of an email in which an address can be put together while it is rendered.

A variable that stands alone is not such a part: the values of each recipient are examined themselves. Neither
is constant text, which is examined when it is compiled.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from jinja2 import nodes

GIVEN_LINKS: Final = frozenset(("unsubscribe_url", "browser_url", "_open", "_click"))
"""The variables that hold this recipient's own links."""

Part = str | nodes.Node
_END: Final = re.compile(r"[\s\"'<>()]")
_JOINS: Final = re.compile(r"[:/\\%&]")


class AddressRun(NamedTuple):
    """Neighbouring parts that can make an address together: those from ``start`` to ``stop``.

    ``before`` and ``after`` are the constant text that joins them.
    """

    before: str
    start: int
    stop: int
    after: str


def address_runs(parts: Sequence[Part]) -> tuple[AddressRun, ...]:
    """Return the runs to examine for each recipient, given constant texts and template code in order."""
    runs, start = [], 0
    while start < len(parts):
        stop = _end_of_run(parts, start)
        run = _run(parts, start, stop)
        if run is not None:
            runs.append(run)
        start = stop
    return tuple(runs)


def _end_of_run(parts: Sequence[Part], start: int) -> int:
    for at in range(start + 1, len(parts)):
        part = parts[at]
        if isinstance(part, str) and _END.search(part):
            return at
    return len(parts)


def _run(parts: Sequence[Part], start: int, stop: int) -> AddressRun | None:
    first, last = parts[start], parts[stop] if stop < len(parts) else ""
    before = _END.split(first)[-1] if isinstance(first, str) else ""
    after = _END.split(last, maxsplit=1)[0] if isinstance(last, str) else ""
    start += isinstance(first, str)
    variable = [each for each in parts[start:stop] if not isinstance(each, str)]
    if all(isinstance(each, nodes.Name) and each.name in GIVEN_LINKS for each in variable):
        return None
    if len(variable) == 1 and _is_unchanged(variable[0]):
        constant = (before, after, *(each for each in parts[start:stop] if isinstance(each, str)))
        if not _JOINS.search("".join(constant)):
            return None
    return AddressRun(before, start, stop, after)


def _is_unchanged(node: nodes.Node) -> bool:
    """Return whether code outputs nothing but values, and text of the source, as they are."""
    match node:
        case nodes.Name() | nodes.Const():
            return True
        case nodes.Filter(name="default" | "d", node=nodes.Node() as value, args=args, kwargs=[]):
            return all(map(_is_unchanged, (value, *args)))
        case nodes.Or(left=left, right=right):
            return _is_unchanged(left) and _is_unchanged(right)
        case nodes.CondExpr(expr1=first, expr2=second):
            return _is_unchanged(first) and (second is None or _is_unchanged(second))
        case nodes.List(items=items) | nodes.Tuple(items=items):
            return all(map(_is_unchanged, items))
        case nodes.Output(nodes=[only]):
            return _is_unchanged(only)
        case nodes.Template(body=body):
            return _has_no_runs(body)
        case nodes.For(iter=iterated, body=body, else_=rest):
            return _is_unchanged(iterated) and _has_no_runs((*body, *body)) and _has_no_runs(rest)
        case nodes.If(body=body, elif_=others, else_=rest):
            return all(map(_has_no_runs, (body, rest, *(each.body for each in others))))
    return False


def _has_no_runs(body: Sequence[nodes.Node]) -> bool:
    values = [each.node for each in body if isinstance(each, nodes.Assign)]
    shown = [each for each in body if not isinstance(each, nodes.Assign)]
    return all(map(_is_unchanged, values)) and not address_runs(tuple(_parts(shown)))


def _parts(body: Iterable[nodes.Node]) -> Iterator[Part]:
    for node in body:
        for each in node.nodes if isinstance(node, nodes.Output) else (node,):
            yield each.data if isinstance(each, nodes.TemplateData) else each
