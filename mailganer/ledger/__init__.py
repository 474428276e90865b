"""The ledger: claim a batch, open a window of it, settle the window, release the batch.

The only package that writes deliveries: it inserts them, and changes their status in one transaction with
their batch's counts. Bulk statements over ranges of ids. A transaction that changes rows of a batch locks the
batch's row first, and only the holder of its newest epoch may.
"""

from .claims import (
    Claim,
    RecipientSelection,
    claim,
    has_untried,
    hold,
    release,
    reopen_lost,
    spread_batches,
    untried,
)
from .decisions import cancel_batch, end_doubt, give_back, note_returned
from .delivery_state_changes import DeliveryChange
from .windows import (
    OpenWindow,
    Recipient,
    SettleResult,
    open_window,
    settle,
    settle_left_over,
    untouched,
    windows_of_journal,
)

__all__ = [
    "Claim",
    "DeliveryChange",
    "OpenWindow",
    "Recipient",
    "RecipientSelection",
    "SettleResult",
    "cancel_batch",
    "claim",
    "end_doubt",
    "give_back",
    "has_untried",
    "hold",
    "note_returned",
    "open_window",
    "release",
    "reopen_lost",
    "settle",
    "settle_left_over",
    "spread_batches",
    "untouched",
    "untried",
    "windows_of_journal",
]
