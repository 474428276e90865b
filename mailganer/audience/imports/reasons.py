"""Reasons for rejected rows and failed files: codes stored in the database, sentences made for display."""

from typing import Final

from translationstring import TranslationString

from ...errors import FileRefused, _
from ..addresses import ADDRESS_REASONS
from .encodings import NAMES

REASONS: Final[dict[str, TranslationString]] = {
    **ADDRESS_REASONS,
    "name_control": _("The name contains a line break or a control character."),
    "name_long": _("The name is longer than 200 characters."),
    # For files imported when these rejected the row; now they are notes.
    "birthday": _("“${detail}” is not a valid birthday. Use 1990-05-14, 14.05.1990 or 14.05."),
    "birthday_unclear": _("“${detail}” is ambiguous: day or month first? Write it as 1990-05-14."),
    "value_control": _("The column “${detail}” contains invisible control characters."),
    "value_long": _("The value in the column “${detail}” is longer than 10,000 characters."),
    "too_many_cells": _("The row has more cells than there are columns."),
    "too_many_fields": _("The subscriber would have more than 100 fields."),
    "encoding": _("Part of this row is in a different encoding than the file and cannot be read."),
    "garbled": _(
        "The text of this row was garbled when the file was saved and cannot be restored. "
        "Export the file again as UTF-8."
    ),
    "suppressed": _("This address unsubscribed or was undeliverable, and was later deleted."),
    "limit": _("The plan allows no more subscribers."),
}

FAILURES: Final[dict[str, TranslationString]] = {
    "empty": _("The file is empty."),
    "no_people": _("The file has headings but no rows below them."),
    "workbook": _(
        "This is a spreadsheet, not a CSV file. Open it in the spreadsheet program and "
        "choose “Save as” and CSV."
    ),
    "archive": _("This is an archive. Unpack it and choose the CSV file inside."),
    "binary": _("This is not a text file. Upload a CSV file with one subscriber per row."),
    "no_address": _(
        "No column contains email addresses. Add a column with the heading “email” and an "
        "address in every row."
    ),
    "columns": _("The file has more than 100 columns. Remove those that your emails do not use."),
    "cell": _(
        "Row ${detail} has a cell longer than 100,000 characters or a quote that is not "
        "closed. Correct the row and upload the file again."
    ),
    "quote": _(
        "A quote in row ${detail} is not closed, so everything below it would be one cell. "
        "Close or remove it and upload the file again."
    ),
    "row_of_addresses": _("All addresses are in one row. Put each address in its own row."),
    "size": _("The file is larger than ${detail} MB. Split it and import the parts one by one."),
    "gone": _("The uploaded file is no longer available. Upload it again."),
}

ENCODING_GUESSED: Final = "encoding_guessed"

NOTES: Final[dict[str, TranslationString]] = {
    "address_repaired": _("The address was extracted from the surrounding text."),
    "address_first": _("The cell has several addresses. The first one is used."),
    "address_other": _("The address column is empty. The address in “${detail}” is used."),
    "letters_repaired": _("The text was garbled when the file was saved, and has been restored."),
    ENCODING_GUESSED: _(
        "The encoding of the file is not certain. It was read as ${detail}. Check that the text is readable."
    ),
    "birthday": _("“${detail}” is not a birthday and is not imported."),
    "birthday_unclear": _(
        "“${detail}” is ambiguous: day or month first? The birthday is not imported until you choose."
    ),
    "status": _("“${detail}” is not a subscription status and is not imported."),
    "status_column": _(
        "The column “${detail}” may show who unsubscribed, but its values are not "
        "recognized. They are imported as an ordinary field, and no subscriber is unsubscribed."
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
        sentence = _("“${detail}” next to the address was removed.")
    return sentence % {"detail": detail} if detail else sentence % {"detail": "…"}


def failure_sentence(error: str) -> TranslationString:
    """Return the sentence for ``Import.error``, to be translated."""
    code, _colon, detail = error.partition(":")
    sentence = FAILURES.get(code, FAILURES["binary"])
    return sentence % {"detail": detail} if detail else sentence
