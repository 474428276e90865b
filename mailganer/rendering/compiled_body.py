"""A source as a row: constant pieces, places for values, and small programs for whatever computes.

Most of an email is constant, and most of what is not is a name between braces. Whoever prints it a million
times need not run a template for that: the row is laid out once, each value is made into a piece once per
reader, however often it is named, and joining the row makes the text.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Generic, TypeVar

from jinja2 import nodes

from ..errors import EmailError
from . import render_budget
from .render_budget import RenderBudget, RenderTooLarge
from .sandbox import CompiledTemplate, Sandbox

Piece = TypeVar("Piece", str, bytes)


class CompiledBody(Generic[Piece]):
    """A source laid out. ``constant`` makes a piece of constant text, ``put`` one of a value."""

    def __init__(
        self,
        source: str,
        field: str,
        environment: Sandbox,
        *,
        constant: Callable[[str], Piece],
        put: Callable[[Any], Piece],
    ) -> None:
        self._field = field
        self._put: Callable[[Any], Piece] = put
        self._empty: Piece = constant("")
        self._row: list[Piece] = []
        self._programs: list[tuple[int, CompiledTemplate]] = []
        self._lines: dict[str, int] = {}
        places: dict[str, list[int]] = {}
        for part in _parts(environment.parse(source)):
            if isinstance(part, str):
                self._row.append(constant(part))
                continue
            if isinstance(part, nodes.Name):
                places.setdefault(part.name, []).append(len(self._row))
                self._lines.setdefault(part.name, part.lineno)
            else:
                self._programs.append((len(self._row), CompiledTemplate(source, field, environment, part)))
            self._row.append(self._empty)
        self._names = [(name, tuple(found), len(found)) for name, found in places.items()]

    def pieces(self, values: Mapping[str, object], run: RenderBudget) -> list[Piece]:
        """The row for one reader. Raises ``EmailError``."""
        row, put = self._row.copy(), self._put
        name, printed = "", 0
        try:
            for name, places, times in self._names:
                value = values.get(name)
                if value is not None:
                    piece = put(value)
                    printed += times * (len(value) if type(value) is str else len(piece))
                    if printed > render_budget.OUTPUT:
                        raise RenderTooLarge(render_budget.LONG)
                    for place in places:
                        row[place] = piece
            run.printed(printed)
        except EmailError as error:
            error.field, error.line = self._field, self._lines.get(name)
            raise
        for place, program in self._programs:
            row[place] = self._computed(program, values, run)
        return row

    def _computed(self, program: CompiledTemplate, values: Mapping[str, object], run: RenderBudget) -> Piece:
        chunks: list[Piece] = []
        size = 0
        try:
            pieces: Iterator[Any] = program.pieces(values, run)
            # By the handful: counting each piece would cost more than making it.
            while some := list(islice(pieces, 64)):
                chunks.append(self._empty.join(some))
                size += len(chunks[-1])
                if size > render_budget.OUTPUT * 3:
                    raise RenderTooLarge(render_budget.LONG)
        except Exception as error:
            raise program.failed(error) from None
        return self._empty.join(chunks)


def _parts(tree: nodes.Template) -> Iterator[str | nodes.Name | nodes.Template]:
    """Constant texts, bare names, and everything else as templates of their own, in order.

    A source that gives names to values (``set``) stays whole: the rest of it may use them.
    """
    if tree.find(nodes.Assign):
        yield tree
        return
    text: list[str] = []
    for node in _flat(tree):
        if isinstance(node, nodes.TemplateData):
            text.append(node.data)
            continue
        if text:
            yield "".join(text)
            text.clear()
        yield node if isinstance(node, nodes.Name) else nodes.Template([node], lineno=node.lineno)
    if text:
        yield "".join(text)


def _flat(tree: nodes.Template) -> Iterator[nodes.Node]:
    for node in tree.body:
        if not isinstance(node, nodes.Output):
            yield node
            continue
        for child in node.nodes:
            plain = isinstance(child, nodes.TemplateData | nodes.Name)
            yield child if plain else nodes.Output([child], lineno=child.lineno)
