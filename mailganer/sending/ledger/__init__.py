"""The ledger's moves: claim a batch, open a window of it, settle the window, let go.

The only place that changes what a delivery is, and its batch's counts with it, in one transaction (what
proves a doubtful letter sent lies lower, in ``tracking.proof``). Bulk statements over ranges of ids; whoever
changes rows of a batch first takes the batch's row, and only the holder of its newest epoch may.
"""

from .claims import Claim, Pick, claim, has_untried, hold, let_go, reopen_lost, untried
from .decisions import cancel_batch, end_doubt, give_back, note_returned
from .statements import Change
from .windows import (
    Opened,
    Recipient,
    Settled,
    of_journal,
    open_window,
    settle,
    settle_left_over,
    untouched,
)

__all__ = [
    "Change",
    "Claim",
    "Opened",
    "Pick",
    "Recipient",
    "Settled",
    "cancel_batch",
    "claim",
    "end_doubt",
    "give_back",
    "has_untried",
    "hold",
    "let_go",
    "note_returned",
    "of_journal",
    "open_window",
    "reopen_lost",
    "settle",
    "settle_left_over",
    "untouched",
    "untried",
]
