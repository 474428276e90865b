"""Spaces and line ends of the text part, with template statements between the words.

Which words are adjacent depends on values: after ``a {% if n %}b{% endif %}`` comes either "b" or the space.
So a space that is pending until the next word is tracked along every branch. Where branches join in different
states it is written at the position where it belongs on each of them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

_STATEMENT = re.compile(r"\{%[-+]?\s*(\w+)")
_SET_BLOCK = re.compile(r"\{%[-+]?\s*set\b(?:[^=]|==)*%\}\Z")
_MINUS = re.compile(r"(?<=\A\{.)[-+]|[-+](?=.\}\Z)")
_BRANCHED = frozenset(("if", "for"))
_ELSEWHERE = frozenset(("macro", "call"))  # output at another place than where they stand


def without_minus(code: str) -> str:
    """Return code without the minus signs that remove the space beside it."""
    return _MINUS.sub("", code)


NONE, SPACE, LINE, EMPTY_LINE = range(4)  # levels of a gap; above LINE each is one more line end


@dataclass(eq=False)
class Gap:
    """The space between two words, as far as it is decided."""

    level: int = NONE
    indent: int = 0
    condition: str = ""
    least: int = NONE  # what has to stay here, whatever is written before

    def __str__(self) -> str:
        if not self.level:
            return ""
        space = " " if self.level == SPACE else "\n" * (self.level - SPACE) + "  " * self.indent
        return f"{{% if {self.condition} %}}{space}{{% endif %}}" if self.condition else space

    def take(self, level: int, least: int = NONE) -> None:
        """Keep only what remains when ``level`` is written before it, and at least ``least`` of it."""
        least = max(least, self.least)
        if self.level <= level:
            self.level = min(self.level, least)
        elif level > SPACE:
            self.level = max(self.level - level + SPACE, least)


@dataclass(eq=False)
class _Debt:
    """A gap that one branch has and another has not: written when a word follows directly."""

    level: int
    pay: Callable[[int], None]  # called with the level that is due
    own: int = NONE
    frame: "_Frame | None" = None  # the pending space before it is due, and nothing was written in it


@dataclass
class PendingSpace:
    """Space that is pending until the next word, on one path through the template."""

    level: int = NONE
    own: int = NONE  # the part of it that came since the innermost loop began
    written: bool = False  # there is a word before
    apart: bool = False  # an image or the address of a link was written last: no word may touch it
    begun: bool = False  # a list item has its marker and no words yet: they stay on its line
    debts: list[_Debt] = field(default_factory=list)
    frame: "_Frame | None" = None  # the innermost statement with no word written in it so far
    partly: bool = False  # on other paths there is a word in it

    def copy(self) -> "PendingSpace":
        return replace(self, debts=list(self.debts))

    @property
    def due(self) -> int:
        return self.level if self.written else NONE


@dataclass(eq=False)
class _Frame:
    """An open statement with branches, or one whose text is output elsewhere."""

    kind: str
    entry: PendingSpace
    before: Gap  # in front of the statement
    top: Gap = field(default_factory=Gap)  # at the beginning of each iteration of a loop
    outer: "_Frame | None" = None  # ``PendingSpace.frame`` at the entry
    firsts: list["_First"] = field(default_factory=list)
    in_body: int | None = None  # how many of these are in the body of a loop with an "else"
    ends: list[tuple[PendingSpace, Gap]] = field(default_factory=list)
    has_else: bool = False

    def hoist(self, level: int) -> None:
        """Write in front of the statement the space that each of its branches would write."""
        if not self.before.level:
            self.before.level = level
            self.take(level)
            _first(self.before, self.entry, self.outer)

    def take(self, level: int) -> None:
        for first in self.firsts:
            if not first.partly:
                first.gap.take(level, first.own if self.kind == "for" else NONE)
        for state, _gap in self.ends:
            if state.frame is self:
                state.level = _rest(state.level, level, state.own)
            for debt in state.debts:
                if debt.frame is not None and debt.frame.is_in(self):
                    debt.level = _rest(debt.level, level, debt.own)

    def is_in(self, other: "_Frame") -> bool:
        """Return whether this is the first thing in the other statement."""
        frame = self.outer
        while frame is not None and frame is not other:
            frame = frame.outer
        return frame is other


class _First(NamedTuple):
    """A gap before a word that is the first in a statement."""

    gap: Gap
    own: int
    partly: bool


def _rest(level: int, taken: int, least: int) -> int:
    gap = Gap(level)
    gap.take(taken, least)
    return gap.level


def _first(gap: Gap, state: PendingSpace, frame: _Frame | None) -> None:
    """Record a gap in all statements whose first word comes after it."""
    own, partly = state.own, state.partly
    while frame is not None:
        frame.firsts.append(_First(gap, own, partly))
        own = max(own, frame.entry.own) if frame.kind == "for" else own
        partly = partly or frame.entry.partly
        frame = frame.outer


class Spacing:
    """Words and statements in order, with the gaps between them."""

    def __init__(self) -> None:
        self.out: list[str | Gap] = []
        self.state = PendingSpace()
        self._frames: list[_Frame] = []

    def written(self, since: int = 0) -> str:
        return "".join(map(str, self.out[since:]))

    def indent(self) -> int:
        """Return the indentation of a new line."""
        return 0

    # --- pending space

    def spaced(self) -> None:
        self._wait(max(self.state.level, SPACE), SPACE)

    def lines(self, least: int) -> None:
        self._wait(max(self.state.level, SPACE + least), SPACE + least)

    def line(self, most: int) -> None:
        """Add one line end, up to ``most``."""
        self._wait(min(max(self.state.level, SPACE) + 1, SPACE + most), LINE)

    def only(self, level: int) -> None:
        """Replace the pending space by ``level``."""
        self.state.level, self.state.debts = level, []

    def _wait(self, level: int, own: int) -> None:
        for debt in self.state.debts:
            if debt.level > level:
                debt.pay(_rest(debt.level, level, NONE))
        self.only(level)
        self.state.own = max(self.state.own, own)

    # --- words and statements

    def put(self, text: str) -> None:
        """Write a word, or an expression with output."""
        state = self.state
        gap = self._gap(state.due)
        for debt in state.debts:
            debt.pay(debt.level)
        _first(gap, state, state.frame)
        self.out.append(text)
        self.state = PendingSpace(written=True)

    def statement(self, code: str) -> None:
        """Write code without output of its own."""
        code = without_minus(code)
        found = _STATEMENT.match(code)
        name = found[1] if found else ""
        if name == "set" and _SET_BLOCK.match(code):
            name = "call"
        if name in _BRANCHED:
            self._begin(name, code)
        elif name in _ELSEWHERE:
            self._frames.append(_Frame(name, self.state, Gap()))
            self.out.append(code)
            self.state = PendingSpace(written=True, frame=self._frames[-1])
        elif name in ("else", "elif") and self._frames:
            self._next_branch(self._frames[-1], name, code)
        elif name in ("endif", "endfor", "endmacro", "endcall", "endset") and self._frames:
            self._end(self._frames.pop(), code)
        else:
            self.out.append(code)

    def _gap(self, level: int = NONE) -> Gap:
        gap = Gap(level, self.indent())
        self.out.append(gap)
        return gap

    def _begin(self, name: str, code: str) -> None:
        state = self.state
        before = self._gap()
        if name == "for" and state.level >= LINE:
            # A line end between the iterations, the empty line before the first.
            if state.written and state.level > LINE:
                self._gap(LINE)
            state.level = LINE
        frame = _Frame(name, state.copy(), before, outer=state.frame)
        self._frames.append(frame)
        self.out.append(code)
        if name == "for":
            frame.top = self._gap()
            # The second iteration follows the first one.
            state.written, state.own, state.partly = True, NONE, False
        state.frame = frame

    def _next_branch(self, frame: _Frame, name: str, code: str) -> None:
        frame.ends.append((self.state, self._gap()))
        if name == "else":
            frame.has_else = True
            if frame.kind == "for":
                frame.in_body = len(frame.firsts)
        self.out.append(code)
        self.state = frame.entry.copy()
        self.state.frame = frame

    def _end(self, frame: _Frame, code: str) -> None:
        end = self._gap()
        self.out.append(code)
        if frame.kind in _ELSEWHERE:
            end.level = min(self.state.due, LINE)
            for first in frame.firsts:
                first.gap.level = min(first.gap.level, LINE)
            for debt in self.state.debts:
                debt.pay(debt.level)
            self.state = frame.entry
            return
        frame.ends.append((self.state, end))
        entry = frame.entry
        if frame.kind == "for":
            _space_iterations(frame)
        ways = [
            (state, _filler(gap, frame.top if frame.kind == "for" and not number else Gap()))
            for number, (state, gap) in enumerate(frame.ends)
        ]
        if not frame.has_else:
            passed = entry.copy()
            passed.frame = frame
            if frame.before.level:
                passed.level = _rest(passed.level, frame.before.level, NONE)
            ways.append((passed, frame.hoist))
        self.state = _joined(frame, ways)


def _filler(gap: Gap, top: Gap) -> Callable[[int], None]:
    def fill(level: int) -> None:
        gap.level = max(gap.level, level)
        top.level = NONE

    return fill


def _space_iterations(frame: _Frame) -> None:
    """Write the space an iteration leaves pending before the next one; the one before the loop only once."""
    end, level = frame.ends[0][0], frame.entry.level
    firsts = frame.firsts[: frame.in_body]
    if end.level >= LINE and level >= LINE:
        _keep(firsts, LINE)
        return
    if not firsts:
        return
    differs = end.level < min(level, LINE) or end.level >= LINE > level > NONE
    if differs and any(first.own < min(level, LINE) for first in firsts):
        if frame.entry.written:
            frame.hoist(level)
        else:
            frame.take(level)
    if any(not first.gap.level for first in firsts):
        for debt in end.debts:
            debt.pay(debt.level)
        end.debts = []
    due = SPACE if end.apart and not end.level else end.level
    if due and any(first.gap.level < min(due, LINE) for first in firsts):
        frame.top.level, frame.top.condition = due, "not loop.first"
    _keep(firsts, due)


def _keep(firsts: list[_First], due: int) -> None:
    """Keep the gaps that later iterations need, whatever is written before the loop."""
    for first in firsts:
        first.gap.least = max(first.gap.least, min(first.gap.level, due))


def _joined(frame: _Frame, ways: list[tuple[PendingSpace, Callable[[int], None]]]) -> PendingSpace:
    states = [state for state, _fill in ways]
    silent = [state for state in states if state.frame is not None]
    result = PendingSpace(
        written=any(state.written for state in states),
        apart=any(state.apart for state in states),
        begun=all(state.begun for state in states),
        own=min(state.own for state in states),
        frame=frame.outer if silent else None,
        partly=len(silent) < len(states) or any(state.partly for state in silent),
    )
    for state in states:
        result.debts += [debt for debt in state.debts if debt not in result.debts]
    known = [state.level for state in states if state.written] or [state.level for state in states]
    if min(known) == max(known) or min(known) >= LINE:
        result.level = max(known)
        return result
    for state, fill in ways:
        if state.due:
            result.debts.append(_Debt(state.due, fill, state.own, frame if state.frame is not None else None))
    return result
