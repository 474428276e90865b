"""Imports of subscriber files: reading, mapping, applying and undoing."""

from .actions import (
    apply_import,
    discard_import,
    latest_imports,
    set_encoding,
    set_mapping,
    start_import,
    undo_import,
)
from .additions import count_without_emails, is_being_undone
from .import_preview import Column, encoding_samples, import_preview
from .reasons import FileProblem, failure_sentence, note_sentence, reject_sentence
from .run import due_imports, run_import

__all__ = [
    "Column",
    "FileProblem",
    "apply_import",
    "count_without_emails",
    "discard_import",
    "due_imports",
    "encoding_samples",
    "failure_sentence",
    "import_preview",
    "is_being_undone",
    "latest_imports",
    "note_sentence",
    "reject_sentence",
    "run_import",
    "set_encoding",
    "set_mapping",
    "start_import",
    "undo_import",
]
