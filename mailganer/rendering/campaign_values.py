"""Values of the campaign's variables, which may themselves use variables."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jinja2 import meta, nodes

from ..errors import EmailError, _
from . import sandbox
from .placeholders import OURS


def names_in(tree: nodes.Template) -> frozenset[str]:
    """Return the free names of a syntax tree; ``a.b`` for an attribute, in that case without ``a`` itself."""
    free = meta.find_undeclared_variables(tree)
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    dotted, inner = set(), set()
    found: list[Any] = [*tree.find_all((nodes.Getattr, nodes.Getitem))]
    for node in found:
        owner = node.node
        key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
        # {{ first_name.upper() }} and {{ birthday.year }} name no more than their owner.
        if id(node) in called or key in ("year", "month", "day") or not isinstance(key, str):
            continue
        if isinstance(owner, nodes.Name) and owner.name in free:
            inner.add(id(owner))
            dotted.add(f"{owner.name}.{key}")
    plain = {name.name for name in tree.find_all(nodes.Name) if name.name in free and id(name) not in inner}
    return frozenset(dotted | plain)


def ordered_values(
    given: Mapping[str, str], overriding: Collection[str]
) -> tuple[tuple[str, str, bool], ...]:
    sources = {name: OURS.sub("", str(value)) for name, value in given.items()}
    uses = {}
    for name, value in sources.items():
        try:
            tree = sandbox.check(value, "variables", sandbox.TEXT)
            sandbox.CompiledTemplate(value, "variables", sandbox.TEXT)
        except EmailError as error:
            error.field = f"variables.{name}"
            raise
        uses[name] = {used.split(".")[0] for used in names_in(tree)} & set(sources) - {name}
    return tuple((name, sources[name], name in overriding) for name in _dependency_order(uses))


def _dependency_order(uses: Mapping[str, set[str]]) -> list[str]:
    """Return the names, each after those it uses. Raises ``EmailError`` for a circular reference."""
    ordered: list[str] = []
    waiting = dict(uses)
    while waiting:
        ready = [name for name, used in waiting.items() if used <= set(ordered)]
        if not ready:
            raise EmailError(
                _(
                    "These variables refer to each other in a circle: ${names}.",
                    mapping={"names": ", ".join(sorted(waiting))},
                ),
                "variables",
            )
        ordered += ready
        for name in ready:
            del waiting[name]
    return ordered


def names_of_values(fills: Iterable[tuple[str, str, bool]], wanted: frozenset[str]) -> frozenset[str]:
    """Return the names used by the campaign variables that the email uses."""
    found: set[str] = set()
    needed = set(wanted)
    for name, value, _wins in reversed(tuple(fills)):
        if name in needed:
            used = names_in(sandbox.TEXT.parse(value))
            needed |= used
            found |= used
    return frozenset(found)
