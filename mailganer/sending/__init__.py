"""Send campaigns: scheduler, workers and the resolution of emails in doubt.

Pages and the API use two names: ``enqueue_after_commit(request, "tick")`` after a change that makes a
campaign ready to send, and ``resolve`` for emails in doubt.
"""

from ..queue import enqueue_after_commit
from .in_doubt import resolve

__all__ = ["enqueue_after_commit", "resolve"]
