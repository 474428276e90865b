"""Subjects as plain text, without a recipient: for lists, cards and headings."""

import re
from datetime import date

from ..rendering.code_spans import code_spans
from ..rendering.localized_values import format_day

_STATEMENT = re.compile(r"\{%-?\s*+(if|else|endif)\b")
_LONGEST_EXPRESSION = 200  # characters; longer expressions are not parsed
_NAME = re.compile(r"\s*([^\W\d][\w.]*)")
_DEFAULT = re.compile(r"""\|\s*(?:default|d)\(\s*(["'])(.*?)\1""")
_TODAY = re.compile(
    r"""\s*+today\s*+(?:\|\s*+date(?:\(\s*+(["'])(?P<pattern>(?:(?!\1).)*+)\1"""
    r"""(?:\s*+,\s*+(["'])(?P<locale>(?:(?!\3).)*+)\3)?\s*+\))?)?"""
    r"""\s*+(?:\|\s*+(?P<case>capitalize|upper|lower|title)\s*)?"""
)


def plain_line(template: str, day: date | None = None, locale: str = "en") -> str:
    """Return a subject as plain text for lists, without a recipient or the cost of a child process.

    It is the subject for a recipient without values, with ``day`` as today, and the names of variables
    without a default: "[first_name], news".
    """
    out: list[str] = []
    conditions: list[tuple[int, bool]] = []  # output length before each, and whether "else" was seen
    at = 0
    for start, end in code_spans(template):
        out.append(template[at:start])
        at = end
        if template.startswith("{{", start):
            out.append(_rendered_expression(template[start + 2 : end - 2].strip("-"), day, locale))
        elif statement := _STATEMENT.match(template, start):
            _apply_condition(statement[1], out, conditions)
    return " ".join("".join((*out, template[at:])).split())


def _apply_condition(statement: str, out: list[str], conditions: list[tuple[int, bool]]) -> None:
    """Keep the "else" branch of a condition, and all of a condition without an end."""
    if statement == "if":
        conditions.append((len(out), False))
    elif conditions:
        before, otherwise = conditions[-1]
        if not otherwise:
            del out[before:]
        if statement == "else":
            conditions[-1] = (before, True)
        else:
            conditions.pop()


def _rendered_expression(printed: str, day: date | None, locale: str) -> str:
    if len(printed) > _LONGEST_EXPRESSION:
        return "…"
    today, default, name = _TODAY.fullmatch(printed), _DEFAULT.search(printed), _NAME.match(printed)
    if today and day:
        return _rendered_day(today, day, locale)
    if default:
        return default[2]
    return f"[{name[1]}]" if name else "…"


def _rendered_day(today: re.Match[str], day: date, locale: str) -> str:
    if "|" not in today[0]:
        return str(day)
    try:
        text = format_day(day, today["pattern"] or "long", today["locale"] or locale)
    except (AttributeError, LookupError, ValueError):  # a pattern for something other than a date
        return "[today]"
    return str(getattr(text, today["case"])()) if today["case"] else text
