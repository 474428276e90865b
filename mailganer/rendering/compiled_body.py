"""Compiled form of a source: constant pieces, slots for values, and small programs for computed parts.

Most of an email is constant, and most of the rest is a bare name between braces. Rendering it a million times
need not run a template for that: the list of pieces is laid out once, each value is encoded once per
recipient however often it is used, and joining the list gives the text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from jinja2 import nodes

from ..errors import EmailError
from . import render_budget
from .address_runs import GIVEN_LINKS, address_runs
from .render_budget import RenderBudget, RenderTooLarge
from .sandbox import CompiledTemplate, Sandbox

Piece = TypeVar("Piece", str, bytes)


class CompiledBody(Generic[Piece]):
    """A source laid out for rendering. ``constant`` encodes constant text, ``put`` encodes a value.

    ``known`` has the pieces of texts that are encoded already; ``put_text`` encodes a text that is not in it.
    """

    def __init__(
        self,
        source: str,
        field: str,
        environment: Sandbox,
        *,
        constant: Callable[[str], Piece],
        put: Callable[[Any], Piece],
        known: Mapping[str, Piece] | None = None,
        put_text: Callable[[str], Piece] | None = None,
    ) -> None:
        self._field = field
        self._known: Mapping[str, Piece] = {} if known is None else known
        self._put: Callable[[Any], Piece] = put
        self._put_text: Callable[[str], Piece] = put_text or put
        self._empty: Piece = constant("")
        self._layout: list[Piece] = []
        self._programs: list[tuple[int, CompiledTemplate]] = []
        self._lines: dict[str, int] = {}
        places: dict[str, list[int]] = {}
        parts = tuple(_parts(environment.parse(source)))
        self._runs: list[tuple[Piece, int, int, Piece]] = [
            (constant(run.before), run.start, run.stop, constant(run.after)) for run in address_runs(parts)
        ]
        for part in parts:
            if isinstance(part, str):
                self._layout.append(constant(part))
                continue
            if isinstance(part, nodes.Name):
                places.setdefault(part.name, []).append(len(self._layout))
                self._lines.setdefault(part.name, part.lineno)
            else:
                self._programs.append((len(self._layout), CompiledTemplate(source, field, environment, part)))
            self._layout.append(self._empty)
        self._names: list[tuple[str, tuple[int, ...], int]] = [
            (name, tuple(found), len(found)) for name, found in places.items()
        ]

    @property
    def has_runs(self) -> bool:
        """Return whether an address can be put together in this body, see :meth:`runs`."""
        return bool(self._runs)

    def pieces(self, values: Mapping[str, object], run: RenderBudget) -> list[Piece]:
        """Return the pieces for one recipient. Raises ``EmailError``."""
        pieces, put, put_text, known = self._layout.copy(), self._put, self._put_text, self._known
        name, printed = "", 0
        try:
            for name, places, times in self._names:
                value = values.get(name)
                if value is None:
                    continue
                if type(value) is str:
                    piece = known.get(value)
                    if piece is None:
                        piece = put_text(value)
                    printed += times * len(value)
                else:
                    piece = put(value)
                    printed += times * len(piece)
                if printed > render_budget.OUTPUT:
                    raise RenderTooLarge(render_budget.LONG)
                for place in places:
                    pieces[place] = piece
            run.charge_output(printed)
        except EmailError as error:
            error.field, error.line = self._field, self._lines.get(name)
            raise
        for place, program in self._programs:
            pieces[place] = self._computed(program, values, run)
        return pieces

    @property
    def prints_values(self) -> bool:
        """Return whether it contains more than constant text and the recipient's own links."""
        return bool(self._programs) or any(name not in GIVEN_LINKS for name, _places, _times in self._names)

    def runs(self, pieces: Sequence[Piece]) -> Iterator[Piece]:
        """Yield what each run of pieces became in which an address can be put together."""
        for before, start, stop, after in self._runs:
            between: Piece = self._empty.join(pieces[start:stop])
            yield before + between + after

    def _computed(self, program: CompiledTemplate, values: Mapping[str, object], run: RenderBudget) -> Piece:
        chunks: list[Piece] = []
        size = 0
        try:
            pieces: Iterator[Any] = program.pieces(values, run)
            # In chunks of 64: checking the size after each piece would cost more than producing it.
            while some := list(islice(pieces, 64)):
                chunks.append(self._empty.join(some))
                size += len(chunks[-1])
                if size > render_budget.OUTPUT * 3:
                    raise RenderTooLarge(render_budget.LONG)
        except Exception as error:
            raise program.failed(error) from None
        return self._empty.join(chunks)


def _parts(tree: nodes.Template) -> Iterator[str | nodes.Name | nodes.Template]:
    """Yield constant texts, bare names, and everything else as templates of their own, in order.

    A source that assigns names (``set``) is not divided: the rest of it may use them.
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
