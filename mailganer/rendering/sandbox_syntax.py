"""Syntax errors of templates in the user's terms."""

import re
from typing import Any

from jinja2 import TemplateSyntaxError

from ..errors import EmailError, _

_SYNTAX: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"Encountered unknown tag '(?P<name>[^']*)'"), _("Emails have no tag “${name}”.")),
    (re.compile(r"No filter named '(?P<name>[^']*)'"), _("Emails have no filter “${name}”.")),
    (re.compile(r"No test named '(?P<name>[^']*)'"), _("Emails have no test “${name}”.")),
    (
        re.compile(
            r"needs to be closed is '(?P<name>\w+)'",
            re.S | re.I,
        ),
        _("“{% ${name} %}” is not closed."),
    ),
    (
        re.compile(r"unexpected char '(?P<name>[“”„‟«»‹›‘’‚‛″′`´])' at \d+"),
        _('${name} cannot be used as a quotation mark in code. Use straight quotes: "...".'),
    ),
    (re.compile(r"unexpected char (?P<name>.+) at \d+"), _("The character ${name} is not allowed here.")),
    (
        re.compile(r"unexpected end of template|unexpected 'end of template'", re.I),
        _("The email ends too early: a tag or bracket is not closed."),
    ),
    (re.compile(r"unexpected '(?P<name>[^']*)'"), _("“${name}” is not allowed here.")),
    (
        re.compile(r"expected token '(?P<other>[^']*)', got '(?P<name>[^']*)'"),
        _("“${name}” is not allowed here."),
    ),
    (
        re.compile(r"Missing end of (?:comment|raw) "),
        _("The email ends too early: a tag or bracket is not closed."),
    ),
)


def syntax_error(error: TemplateSyntaxError, field: str) -> EmailError:
    """Return an error of the parser with its line."""
    message = error.message or ""
    for pattern, sentence in _SYNTAX:
        if match := pattern.search(message):
            groups = match.groupdict()
            name = groups.get("name") or groups.get("other") or ""
            reported = sentence % {"name": name[:40]} if "${name}" in sentence else sentence
            return EmailError(reported, field, error.lineno)
    return EmailError(
        _("This cannot be parsed: ${reason}", mapping={"reason": message[:200]}), field, error.lineno
    )
