"""Reasons for rejected rows and failed files: codes stored in the database, sentences made for display."""

from typing import Final

from translationstring import TranslationString

from ...errors import FileRefused, _
from ..addresses import ADDRESS_REASONS
from .encodings import NAMES

REASONS: Final[dict[str, TranslationString]] = {
    **ADDRESS_REASONS,
    "name_control": _("There is a line break or a control character in the name."),
    "name_long": _("The name is longer than 200 characters."),
    # For files imported when these rejected the row; now they are notes.
    "birthday": _("“${detail}” is no birthday. It looks like 1990-05-14, 14.05.1990 or 14.05."),
    "birthday_unclear": _("“${detail}”: is this day or month first? Write 1990-05-14."),
    "value_control": _("There are invisible control characters in the column “${detail}”."),
    "value_long": _("There are more than 10,000 characters in the column “${detail}”."),
    "too_many_cells": _("The row has more cells than there are columns."),
    "too_many_fields": _("This person would have more than 100 fields."),
    "encoding": _("Some letters of this row cannot be read: they are in another encoding than the file."),
    "garbled": _(
        "The letters of this row were garbled when the file was saved, and cannot be repaired. "
        "Export the file once more, as UTF-8."
    ),
    "suppressed": _("This address asked for no more emails, or could not be reached, and was then deleted."),
    "limit": _("The plan has no room for more people."),
}

FAILURES: Final[dict[str, TranslationString]] = {
    "empty": _("The file is empty."),
    "no_people": _("The file has a row of headings and no people below it."),
    "workbook": _(
        "This is a spreadsheet, not a CSV file. In the spreadsheet program choose “Save as” and CSV."
    ),
    "archive": _("This is an archive. Unpack it and choose the CSV file inside."),
    "binary": _("This is not a text file. A list of people is a CSV file with one person per row."),
    "no_address": _(
        "No column holds mail addresses. One column needs the heading “email” and an address in every row."
    ),
    "columns": _("The file has more than 100 columns. Leave out those that the emails do not need."),
    "cell": _("Row ${detail} has a cell of more than 100,000 characters, or a quote that is never closed."),
    "quote": _("Row ${detail} has a quote that is never closed: everything below it would be one cell."),
    "row_of_addresses": _("All the addresses stand in one row. Write each in a row of its own."),
    "size": _("The file is larger than ${detail} MB. Divide it and bring in the parts one by one."),
    "gone": _("The uploaded file is no longer there. Choose it once more."),
}

ENCODING_GUESSED: Final = "encoding_guessed"

NOTES: Final[dict[str, TranslationString]] = {
    "address_repaired": _("The address was taken out of the text around it."),
    "address_first": _("There are several addresses. The first one is used."),
    "address_other": _("The column of addresses has none; the one in “${detail}” is used."),
    "letters_repaired": _("The letters were garbled when the file was saved, and have been repaired."),
    ENCODING_GUESSED: _(
        "The encoding of the file is uncertain. It was read as ${detail}: check the letters."
    ),
    "birthday": _("“${detail}” is not understood as a birthday and is left out."),
    "birthday_unclear": _("“${detail}”: day or month first? The birthday is left out until you choose."),
    "status": _("“${detail}” is not understood as a subscription status and is left out."),
    "status_column": _(
        "The column “${detail}” may say who unsubscribed, but its values are not understood. "
        "They were imported as ordinary values, and nobody is unsubscribed because of them."
    ),
}

_UNKNOWN: Final = _("This row could not be read.")


class FileProblem(FileRefused):
    """A file that cannot be imported. ``word`` is stored: the code, and its detail after a colon."""

    def __init__(self, code: str, detail: object = "") -> None:
        self.word = f"{code}:{detail}" if detail != "" else code
        super().__init__(failure_sentence(self.word))


def reject_sentence(code: str, detail: str = "") -> TranslationString:
    """Return the sentence for a rejected row, to be translated."""
    sentence = REASONS.get(code, _UNKNOWN)
    return sentence % {"detail": detail} if detail else sentence


def note_sentence(code: str, detail: str = "") -> TranslationString:
    """Return the sentence for a repaired or dropped value of an imported row, to be translated."""
    sentence = NOTES.get(code, _UNKNOWN)
    if code == ENCODING_GUESSED:
        return sentence % {"detail": NAMES.get(detail, detail)}
    if code == "address_repaired" and detail:
        sentence = _("“${detail}” beside the address was removed.")
    return sentence % {"detail": detail} if detail else sentence % {"detail": "…"}


def failure_sentence(error: str) -> TranslationString:
    """Return the sentence for ``Import.error``, to be translated."""
    code, _colon, detail = error.partition(":")
    sentence = FAILURES.get(code, FAILURES["binary"])
    return sentence % {"detail": detail} if detail else sentence
