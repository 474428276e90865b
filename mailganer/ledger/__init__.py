"""The ledger's moves: claim a batch, open a window of it, settle the window, let go.

The only place that changes what a delivery is, and its batch's counts with it, in one transaction (what
proves a doubtful email sent lies lower, in ``tracking.proof``). Bulk statements over ranges of ids; whoever
changes rows of a batch first takes the batch's row, and only the holder of its newest epoch may.
"""

from .claims import Claim, Pick, claim, has_untried, hold, release, reopen_lost, untried
from .decisions import cancel_batch, end_doubt, give_back, note_returned
from .statements import DeliveryChange
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
    "Pick",
    "Recipient",
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
    "untouched",
    "untried",
    "windows_of_journal",
]
