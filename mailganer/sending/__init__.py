"""The pipeline: plan, ledger, lanes, quota, sweep; and the bell that wakes it after a commit.

Pages and the API need two names of it: ``wake(request, "tick")`` after whatever makes a campaign go, and
``decide`` for letters in doubt.
"""

from .bell import includeme, wake
from .doubt import decide

__all__ = ["decide", "includeme", "wake"]
