"""The pipeline: plan, ledger, lanes, quota, sweep; and the bell that wakes it after a commit.

Pages and the API need two names of it: ``wake(request, "tick")`` after whatever makes a campaign go, and
``resolve`` for emails in doubt.
"""

from ..queue import enqueue_after_commit, includeme
from .in_doubt import resolve

__all__ = ["enqueue_after_commit", "includeme", "resolve"]
