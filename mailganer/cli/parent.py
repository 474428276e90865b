"""Make a child process end with its parent, even when the parent is killed."""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1
CHECK_EVERY = 1.0  # seconds, where the kernel sends no signal


def die_with_parent(by: int = signal.SIGTERM) -> None:
    """Make this process receive the signal ``by`` when its parent ends.

    Linux does it itself, and the setting survives ``exec``. Elsewhere a thread checks whether the parent is
    still the same; that does not survive ``exec``.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
    else:
        threading.Thread(target=_watch, args=(os.getppid(), by), daemon=True).start()


def _watch(parent: int, by: int) -> None:
    while os.getppid() == parent:
        time.sleep(CHECK_EVERY)
    os.kill(os.getpid(), by)
