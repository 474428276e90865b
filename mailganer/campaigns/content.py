"""A subject in words, where there is no reader: in lists, beside steps, on cards."""

import re
from datetime import date

from ..rendering.code_spans import code_spans
from ..rendering.localized_values import format_day

_STATEMENT = re.compile(r"\{%-?\s*+(if|else|endif)\b")
_LONGEST_EXPRESSION = 200  # characters; a longer one is not looked into
_NAME = re.compile(r"\s*([^\W\d][\w.]*)")
_DEFAULT = re.compile(r"""\|\s*(?:default|d)\(\s*(["'])(.*?)\1""")
_TODAY = re.compile(
    r"""\s*+today\s*+(?:\|\s*+date(?:\(\s*+(["'])(?P<pattern>(?:(?!\1).)*+)\1"""
    r"""(?:\s*+,\s*+(["'])(?P<locale>(?:(?!\3).)*+)\3)?\s*+\))?)?"""
    r"""\s*+(?:\|\s*+(?P<case>capitalize|upper|lower|title)\s*)?"""
)


def plain_line(template: str, day: date | None = None, locale: str = "en") -> str:
    """A subject as one reads it in a list, where there is no reader and no child process for each line.

    It says what it says to somebody of whom nothing is known, with ``day`` for today and the name of what
    has no default: "[first_name], news".
    """
    out: list[str] = []
    conditions: list[tuple[int, bool]] = []  # how much was written before each, and whether "else" was seen
    at = 0
    for start, end in code_spans(template):
        out.append(template[at:start])
        at = end
        if template.startswith("{{", start):
            out.append(_word(template[start + 2 : end - 2].strip("-"), day, locale))
        elif statement := _STATEMENT.match(template, start):
            _follow(statement[1], out, conditions)
    return " ".join("".join((*out, template[at:])).split())


def _follow(statement: str, out: list[str], conditions: list[tuple[int, bool]]) -> None:
    """Keep of a condition what it says otherwise, and all of one that has no end."""
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


def _word(printed: str, day: date | None, locale: str) -> str:
    if len(printed) > _LONGEST_EXPRESSION:
        return "…"
    today, default, name = _TODAY.fullmatch(printed), _DEFAULT.search(printed), _NAME.match(printed)
    if today and day:
        return _day_word(today, day, locale)
    if default:
        return default[2]
    return f"[{name[1]}]" if name else "…"


def _day_word(today: re.Match[str], day: date, locale: str) -> str:
    if "|" not in today[0]:
        return str(day)
    try:
        text = format_day(day, today["pattern"] or "long", today["locale"] or locale)
    except (AttributeError, LookupError, ValueError):  # a pattern for something else than a day
        return "[today]"
    return str(getattr(text, today["case"])()) if today["case"] else text
