"""The title of a process, as ``ps`` shows it. A fork would be shown by the command line of its parent."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_NAME = 15
_LONGEST_NAME = 15  # bytes
_ARGUMENTS_BEGIN, _ARGUMENTS_END = 47, 48  # fields of /proc/self/stat, counted from 0


def set_title(title: str) -> None:
    """Replace name and command line of this process; do nothing where that is impossible."""
    if sys.platform != "linux":
        return
    text = title.encode()
    ctypes.CDLL(None).prctl(_PR_SET_NAME, text[:_LONGEST_NAME], 0, 0, 0)
    with suppress(OSError, ValueError, IndexError):
        _write_over_arguments(text)


def _write_over_arguments(text: bytes) -> None:
    """Write over the command line in memory, which Python has copied and reads no more.

    When its last byte is not zero, Linux shows what stands before the first zero.
    """
    process_id, _, rest = Path("/proc/self/stat").read_text().rpartition(")")
    fields = [process_id, "", *rest.split()]
    begin, end = int(fields[_ARGUMENTS_BEGIN]), int(fields[_ARGUMENTS_END])
    room = end - begin
    if begin and room > len(text) + 1:
        ctypes.memset(begin, 0, room)
        ctypes.memmove(begin, text, len(text))
        ctypes.memset(end - 1, 1, 1)
