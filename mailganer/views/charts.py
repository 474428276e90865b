"""Charts as plain geometry: numbers in, an immutable drawing out, which a macro renders as SVG.

No scripts or style attributes are needed, so it prints, works under a strict CSP, and costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Frame:
    """Size of a drawing and of the plot area within it: numbers to the left, labels below."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    most_ticks: int  # labels below the axis; more would overlap


WIDE = Frame(width=720, height=240, left=48, right=712, top=12, bottom=208, most_ticks=6)
# For phones, where the wide drawing would be too small.
NARROW = Frame(width=360, height=220, left=40, right=356, top=12, bottom=188, most_ticks=3)


@dataclass(frozen=True)
class ChartPart:
    """A segment of a stacked bar. ``start`` and ``width`` are percentages."""

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
class ChartRow:
    """A line of a chart, or its bars. ``tone`` is "one", "two" or "three"."""

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
class AxisTick:
    x: float
    text: str
    edge: str  # "first" and "last" are aligned inwards


@dataclass(frozen=True)
class ChartLine:
    """A row of the table under the chart."""

    text: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Drawing:
    frame: Frame
    rows: tuple[ChartRow, ...]
    grid: tuple[Grid, ...]
    ticks: tuple[AxisTick, ...]


@dataclass(frozen=True)
class Chart:
    """A chart as a wide and a narrow drawing, of which a page shows the one that fits, and as a table."""

    title: str
    kind: str
    wide: Drawing
    narrow: Drawing
    lines: tuple[ChartLine, ...]


def make_chart(
    title: str, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], kind: str = "line"
) -> Chart:
    """Return a chart of up to three series over the same labels, which are translated already.

    ``kind`` is "line" for continuous values, "bar" for daily counts.
    """
    return Chart(
        title=title,
        kind=kind,
        wide=_draw(WIDE, labels, series, kind),
        narrow=_draw(NARROW, labels, series, kind),
        lines=tuple(
            ChartLine(text, tuple(values[i] for _name, values in series)) for i, text in enumerate(labels)
        ),
    )


def shares(parts: Sequence[tuple[str, int, str]]) -> tuple[ChartPart, ...]:
    """Return the segments of a stacked bar for ``(tone, number, label)``, in percent of the sum."""
    total = sum(number for _tone, number, _word in parts)
    pieces, start = [], 0.0
    for tone, number, word in parts:
        width = 100 * number / total if total else 0.0
        pieces.append(ChartPart(tone, word, number, round(start, 3), round(width, 3)))
        start += width
    return tuple(pieces)


def nice_top(highest: float) -> int:
    """Return the end of the axis: a number whose quarters are whole."""
    tens = 1
    while 80 * tens < highest:
        tens *= 10
    return next(top * tens for top in (4, 8, 20, 40, 80) if top * tens >= highest)


def _draw(
    frame: Frame, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], kind: str
) -> Drawing:
    highest = nice_top(max((value for _name, values in series for value in values), default=0))
    tones = ("one", "two", "three")
    step = (frame.bottom - frame.top) / 4
    return Drawing(
        frame=frame,
        rows=tuple(
            _row(frame, name, tones[i % 3], labels, values, highest)
            for i, (name, values) in enumerate(series)
        ),
        grid=tuple(Grid(_round(frame.bottom - step * i), highest * i / 4) for i in range(5)),
        ticks=_ticks(frame, labels, kind),
    )


def _row(
    frame: Frame, name: str, tone: str, labels: Sequence[str], values: Sequence[float], highest: float
) -> ChartRow:
    points = tuple(
        _point(frame, i, len(values), value / highest, labels[i], value) for i, value in enumerate(values)
    )
    path = "M" + "L".join(f"{point.x} {point.y}" for point in points) if points else ""
    closed = len(points) > 1
    area = f"{path}L{points[-1].x} {frame.bottom}L{points[0].x} {frame.bottom}Z" if closed else ""
    return ChartRow(name, tone, points, path, area, sum(values))


def _point(frame: Frame, index: int, count: int, share: float, text: str, value: float) -> Point:
    slot = (frame.right - frame.left) / max(count, 1)
    height = (frame.bottom - frame.top) * share
    bar = min(slot * 0.7, 48)
    return Point(
        x=_along(frame, index, count),
        y=_round(frame.bottom - height),
        bar_x=_round(frame.left + slot * (index + 0.5) - bar / 2),
        bar_width=_round(bar),
        bar_height=_round(height),
        value=value,
        text=text,
    )


def _ticks(frame: Frame, labels: Sequence[str], kind: str) -> tuple[AxisTick, ...]:
    count = len(labels)
    step = max(1, -(-count // frame.most_ticks))
    if kind == "bar":
        slot = (frame.right - frame.left) / max(count, 1)
        return tuple(
            AxisTick(_round(frame.left + slot * (i + 0.5)), labels[i], "") for i in range(0, count, step)
        )
    last = count - 1
    # The last label is always shown, aligned inwards; labels that would overlap it are dropped.
    chosen = [i for i in range(0, last, step) if i == 0 or last - i >= 1.2 * step] + [last] * (last >= 0)
    edges = {0: "first", last: "last"} if last > 0 else {}
    return tuple(AxisTick(_along(frame, i, count), labels[i], edges.get(i, "")) for i in chosen)


def _along(frame: Frame, index: int, count: int) -> float:
    return _round(frame.left + (frame.right - frame.left) * (index / (count - 1) if count > 1 else 0.5))


def _round(value: float) -> float:
    return round(value, 1)
