"""Audience: lists, subscribers, imports, recipients of a campaign, and suppression."""

from .addresses import AddressError, parse_address
from .birthdays import YEARLESS, birthday_value
from .csv_cells import safe_cell
from .exports import birthday_text, rejects_csv, subscribers_csv
from .fields import (
    filled_counts,
    known_fields,
    slug,
    subscriber_values,
)
from .imports import (
    Column,
    apply_import,
    discard_import,
    due_imports,
    encoding_samples,
    failure_sentence,
    import_preview,
    latest_imports,
    note_sentence,
    reject_sentence,
    run_import,
    set_encoding,
    set_mapping,
    start_import,
    undo_import,
)
from .lists import (
    add_to_list,
    create_list,
    delete_list,
    list_counts,
    lists_of,
    remove_from_list,
    rename_list,
    waits_for_its_file,
)
from .recipients import excluded_counts, recipient_count, recipients
from .sample_subscribers import add_sample_subscribers
from .subscriber_search import (
    FoundCounts,
    SubscriberPage,
    find_subscriber,
    found_counts,
    search_subscribers,
    status_counts,
)
from .subscribers import Added, add_subscriber, erase_subscriber, update_subscriber
from .suppression import resubscribe, suppress, suppressed, suppression_digest, unsubscribe

__all__ = [
    "YEARLESS",
    "Added",
    "AddressError",
    "Column",
    "FoundCounts",
    "SubscriberPage",
    "add_sample_subscribers",
    "add_subscriber",
    "add_to_list",
    "apply_import",
    "birthday_text",
    "birthday_value",
    "create_list",
    "delete_list",
    "discard_import",
    "due_imports",
    "encoding_samples",
    "erase_subscriber",
    "excluded_counts",
    "failure_sentence",
    "filled_counts",
    "find_subscriber",
    "found_counts",
    "import_preview",
    "known_fields",
    "latest_imports",
    "list_counts",
    "lists_of",
    "note_sentence",
    "parse_address",
    "recipient_count",
    "recipients",
    "reject_sentence",
    "rejects_csv",
    "remove_from_list",
    "rename_list",
    "resubscribe",
    "run_import",
    "safe_cell",
    "search_subscribers",
    "set_encoding",
    "set_mapping",
    "slug",
    "start_import",
    "status_counts",
    "subscriber_values",
    "subscribers_csv",
    "suppress",
    "suppressed",
    "suppression_digest",
    "undo_import",
    "unsubscribe",
    "update_subscriber",
    "waits_for_its_file",
]
