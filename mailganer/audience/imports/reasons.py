"""Why a row did not go in, as words kept in the database and sentences made when they are shown."""

from typing import Final

from translationstring import TranslationString

from ...errors import _
from ..addresses import ADDRESS_REASONS

REASONS: Final[dict[str, TranslationString]] = {
    **ADDRESS_REASONS,
    "name_control": _("There is a line break or a control character in the name."),
    "name_long": _("The name is longer than 200 characters."),
    "birthday": _("“${detail}” is no birthday. It looks like 1990-05-14, 14.05.1990 or 14.05."),
    "birthday_unclear": _("“${detail}”: is this day or month first? Write 1990-05-14."),
    "value_control": _("There are invisible control characters in the column “${detail}”."),
    "value_long": _("There are more than 10,000 characters in the column “${detail}”."),
    "too_many_cells": _("The row has more cells than there are columns."),
    "encoding": _("Some letters of this row cannot be read: they are in another encoding than the file."),
    "suppressed": _("This address asked for no more letters, or could not be reached, and was then deleted."),
    "limit": _("The plan has no room for more people."),
}

_UNKNOWN: Final = _("This row could not be read.")


def reject_sentence(code: str, detail: str = "") -> str:
    """The sentence for a rejected row, to be translated."""
    sentence = REASONS.get(code, _UNKNOWN)
    return sentence % {"detail": detail} if detail else sentence
