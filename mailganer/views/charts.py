"""Charts as plain geometry: the numbers go in, a frozen drawing comes out, and a macro writes it as SVG.

No script and no style attribute is needed, so it prints, works under the strictest policy and costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 712, 12, 208  # the plot within; room for numbers at the left, words below
MOST_TICKS = 6  # labels below the axis; more collide on a phone


@dataclass(frozen=True)
class Part:
    """One piece of a bar. ``start`` and ``width`` are percent."""

    tone: str
    word: str
    number: int
    start: float
    width: float


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    bar_x: float
    bar_width: float
    bar_height: float
    value: float
    text: str


@dataclass(frozen=True)
class Row:
    """One line of a chart, or its bars. ``tone`` is "one", "two" or "three"."""

    name: str
    tone: str
    points: tuple[Point, ...]
    path: str
    area: str
    total: float


@dataclass(frozen=True)
class Grid:
    y: float
    value: float


@dataclass(frozen=True)
class Tick:
    x: float
    text: str
    edge: str  # "first" and "last" are aligned inwards


@dataclass(frozen=True)
class Line:
    """A row of the table under the chart."""

    text: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    title: str
    kind: str
    rows: tuple[Row, ...]
    grid: tuple[Grid, ...]
    ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT


def make_chart(
    title: str, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], kind: str = "line"
) -> Chart:
    """A chart of up to three series over the same labels (already words in the person's language).

    ``kind`` is "line" for what flows, "bar" for what is counted by the day.
    """
    top = nice_top(max((value for _name, values in series for value in values), default=0))
    tones = ("one", "two", "three")
    return Chart(
        title=title,
        kind=kind,
        rows=tuple(_row(name, tones[i % 3], labels, values, top) for i, (name, values) in enumerate(series)),
        grid=tuple(Grid(_round(BOTTOM - (BOTTOM - TOP) * step / 4), top * step / 4) for step in range(5)),
        ticks=_ticks(labels, kind),
        lines=tuple(
            Line(text, tuple(values[i] for _name, values in series)) for i, text in enumerate(labels)
        ),
    )


def shares(parts: Sequence[tuple[str, int, str]]) -> tuple[Part, ...]:
    """``(tone, number, word)`` side by side, in percent of their sum."""
    total = sum(number for _tone, number, _word in parts)
    pieces, start = [], 0.0
    for tone, number, word in parts:
        width = 100 * number / total if total else 0.0
        pieces.append(Part(tone, word, number, round(start, 3), round(width, 3)))
        start += width
    return tuple(pieces)


def nice_top(highest: float) -> int:
    """The end of the axis: a number whose quarters are whole."""
    tens = 1
    while 80 * tens < highest:
        tens *= 10
    return next(top * tens for top in (4, 8, 20, 40, 80) if top * tens >= highest)


def _row(name: str, tone: str, labels: Sequence[str], values: Sequence[float], top: float) -> Row:
    points = tuple(_point(i, len(values), value, top, labels[i]) for i, value in enumerate(values))
    path = "M" + "L".join(f"{point.x} {point.y}" for point in points) if points else ""
    closed = len(points) > 1
    area = f"{path}L{points[-1].x} {BOTTOM}L{points[0].x} {BOTTOM}Z" if closed else ""
    return Row(name, tone, points, path, area, sum(values))


def _point(index: int, count: int, value: float, top: float, text: str) -> Point:
    slot = (RIGHT - LEFT) / max(count, 1)
    x = LEFT + (RIGHT - LEFT) * (index / (count - 1) if count > 1 else 0.5)
    height = (BOTTOM - TOP) * value / top
    bar = min(slot * 0.7, 48)
    return Point(
        x=_round(x),
        y=_round(BOTTOM - height),
        bar_x=_round(LEFT + slot * (index + 0.5) - bar / 2),
        bar_width=_round(bar),
        bar_height=_round(height),
        value=value,
        text=text,
    )


def _ticks(labels: Sequence[str], kind: str) -> tuple[Tick, ...]:
    if not labels:
        return ()
    if kind == "bar":
        step = max(1, -(-len(labels) // MOST_TICKS))
        slot = (RIGHT - LEFT) / len(labels)
        return tuple(
            Tick(_round(LEFT + slot * (i + 0.5)), labels[i], "") for i in range(0, len(labels), step)
        )
    last = len(labels) - 1
    step = max(1, -(-len(labels) // MOST_TICKS))
    chosen = [i for i in range(0, len(labels), step) if i == 0 or last - i >= step or i == last]
    return tuple(
        Tick(
            _round(LEFT + (RIGHT - LEFT) * (i / last if last else 0.5)),
            labels[i],
            "" if not last else "first" if i == 0 else "last" if i == last else "",
        )
        for i in chosen
    )


def _round(value: float) -> float:
    return round(value, 1)
