"""Processes of ``mailganer`` that start at once: forks of one that has imported the program.

Tests start hundreds of parts and commands. Each would spend a second of processor time on the same imports.
``mailganer serve`` starts its own parts in the same way.
"""

import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from mailganer.cli.forked import CAN_FORK, preload
from mailganer.cli.process_title import set_title
from mailganer.cli.shared_modules import SENDING_MODULES, WEB_MODULES

from .ports import die_with_parent

_ROOT = str(Path(__file__).resolve().parents[2])
_SERVER = (
    "import sys; sys.path[0] = sys.argv[1]; from tests.support import forks; forks.serve(int(sys.argv[2]))"
)
_LARGEST_REQUEST = 256 * 1024  # bytes; most of it is the environment


class _Reports(socket.socket):
    """A socket that is closed without a warning when its process is forgotten, as ``Popen`` objects are."""

    def __del__(self) -> None:
        self.close()


class Fork:
    """``mailganer ARGUMENTS`` in a fork, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        output: IO[Any],
        environment: Mapping[str, str],
        errors: IO[Any] | None = None,
        folder: str | None = None,
        new_session: bool = False,
    ) -> None:
        self.args = [sys.executable, "-m", "mailganer", *arguments]
        self.returncode: int | None = None
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": folder or os.getcwd(),
            "new_session": new_session,
        }
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reports = _Reports(fileno=ours.detach())
        with theirs:
            files = [output.fileno(), (errors or output).fileno(), theirs.fileno()]
            socket.send_fds(_server(), [json.dumps(request).encode()], files)
        self.pid = self._report(None)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""
        if self.returncode is None:
            try:
                self._end(self._report(0))
            except BlockingIOError:
                return None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            try:
                self._end(self._report(timeout))
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _report(self, timeout: float | None) -> int:
        self._reports.settimeout(timeout)
        message = self._reports.recv(100)
        assert message, "the process that forks has ended"
        return int(message)

    def _end(self, code: int) -> None:
        self.returncode = code
        self._reports.close()


Process = Fork | subprocess.Popen[Any]


def start(
    arguments: Sequence[str],
    output: IO[Any],
    environment: Mapping[str, str],
    errors: IO[Any] | None = None,
    folder: str | None = None,
    new_session: bool = False,
    forked: bool = CAN_FORK,
) -> Process:
    """Start ``mailganer ARGUMENTS`` with nothing to read; without ``forked`` in a Python of its own."""
    if forked:
        return Fork(arguments, output, environment, errors, folder, new_session)
    return subprocess.Popen(
        [sys.executable, "-m", "mailganer", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors or subprocess.STDOUT,
        env=environment,
        cwd=folder,
        start_new_session=new_session,
        preexec_fn=die_with_parent,
    )


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    timeout: float = 60,
    folder: str | None = None,
    forked: bool = CAN_FORK,
) -> subprocess.CompletedProcess[str]:
    """Run ``mailganer ARGUMENTS`` to its end and return what it wrote."""
    with TemporaryFile("w+", encoding="utf-8") as output, TemporaryFile("w+", encoding="utf-8") as errors:
        process = start(arguments, output, environment, errors, folder, forked=forked)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(process.args, code, output.read(), errors.read())


@cache
def _server() -> socket.socket:
    """Start the process that forks, one for this process; it ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, _ROOT, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
    starter = os.getpid()

    def end() -> None:
        if os.getpid() == starter:  # and not a fork of the tests
            ours.close()
            process.kill()
            process.wait()

    atexit.register(end)
    return ours


def serve(requests: int) -> None:
    """Fork for each request until the tests end. Each fork returns from here once its command has ended."""
    preload((*WEB_MODULES, *SENDING_MODULES, "mailganer.cli.*", "sqlalchemy.dialects.postgresql.psycopg"))
    request = _next_fork(requests)
    if request is not None:
        _run(request)


def _next_fork(requests: int) -> dict[str, Any] | None:
    """Return what to run, in a new fork; or None, in this process, after the tests."""
    parent, reports = os.getpid(), {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            os.read(woken, 1000)
            _report_ends(reports)
        if requests in ready:
            request, files = _receive(requests)
            if not request:
                return None
            pid = os.fork()
            if pid == 0:
                _become_new(request, files, parent)
                return request
            reports[pid] = files.pop()
            os.write(reports[pid], str(pid).encode())
            for file in files:
                os.close(file)


def _receive(requests: int) -> tuple[dict[str, Any] | None, list[int]]:
    with socket.socket(fileno=os.dup(requests)) as connection:
        content, files, _, _ = socket.recv_fds(connection, _LARGEST_REQUEST, 3)
    return (json.loads(content) if content else None), list(files)


def _report_ends(reports: dict[int, int]) -> None:
    while reports:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        report = reports.pop(pid)
        with suppress(BrokenPipeError):  # this one is not waited for
            os.write(report, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(report)


def _become_new(request: Mapping[str, Any], files: Sequence[int], parent: int) -> None:
    """Turn a new fork into a process like one started by ``subprocess``."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if request["new_session"]:
        os.setsid()
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)  # it died before it could be watched
    os.dup2(files[0], 1)
    os.dup2(files[1], 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])


def _run(request: Mapping[str, Any]) -> None:
    set_title(" ".join(["python", "-m", "mailganer", *request["arguments"][:1]]))
    sys.path[0] = request["folder"]
    sys.argv[1:] = request["arguments"]
    runpy.run_module("mailganer", run_name="__main__", alter_sys=True)
