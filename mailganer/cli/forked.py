"""Run a command in a fork of this process, which has imported the program already.

Starting Python and importing the program takes a second of CPU and a hundred megabytes for each process. A
fork takes neither: it shares the memory of what was imported. The process that forks must have one thread, no
connection to a database or broker, and no secrets but the settings that all parts read themselves.
"""

import gc
import logging
import os
import pkgutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import IO, NoReturn

from .parent import die_with_parent
from .process_title import set_title

CAN_FORK = sys.platform == "linux"
"""Elsewhere parts start as new processes: on macOS, system libraries break in a fork."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)
_FIRST_FILE = 3  # after stdin, stdout and stderr


def preload(modules: Iterable[str]) -> None:
    """Import what the forks of this process will share, and keep the garbage collector from touching it.

    ``NAME.*`` means a package and all its modules.
    """
    gc.disable()
    for name in modules:
        # Whatever cannot be imported is not shared; the part that needs it reports the error.
        with suppress(ImportError):
            _import(name)
    gc.freeze()
    gc.enable()


def _import(name: str) -> None:
    module = import_module(name.removesuffix(".*"))
    if name.endswith(".*"):
        for each in pkgutil.walk_packages(module.__path__, f"{module.__name__}."):
            import_module(each.name)


class ForkedProcess:
    """A fork of this process that runs a function, with the part of ``subprocess.Popen`` that a tree uses."""

    def __init__(
        self, run: Callable[[], int], name: str, environment: Mapping[str, str], output: IO[bytes] | None
    ) -> None:
        if threading.active_count() > 1:
            raise RuntimeError("A process with threads cannot be forked: their locks stay taken.")
        self.returncode: int | None = None
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with _signals_blocked():
            self.pid = os.fork()
            if self.pid == 0:
                _become(run, name, environment, output, parent)

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while the process runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block signals, so that none reaches the fork before it has dropped the handlers of its parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _become(
    run: Callable[[], int], name: str, environment: Mapping[str, str], output: IO[bytes] | None, parent: int
) -> NoReturn:
    """Turn a new fork into a process like a newly started one, run the function, and exit.

    Nothing of the parent's stack is unwound: it would stop the siblings.
    """
    code = 1
    try:
        _drop_inheritance(environment, output)
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)  # it died before it could be watched
        set_title(f"mailganer {name}")
        code = run()
    except SystemExit as error:
        code = _exit_code(error)
    except BaseException:
        traceback.print_exc()
    finally:
        _exit(code)


def _drop_inheritance(environment: Mapping[str, str], output: IO[bytes] | None) -> None:
    # Ctrl-C in a terminal goes to the parent only, which signals the children in order.
    os.setsid()
    signal.set_wakeup_fd(-1)
    for signum in _SIGNALS:
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.environ.update(environment)
    if output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    # Among them the lock of the data folder, which must not outlive the parent.
    os.closerange(_FIRST_FILE, os.sysconf("SC_OPEN_MAX"))
    logging.getLogger().handlers.clear()  # those of the parent's command
    logging.captureWarnings(False)


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def _exit(code: int) -> NoReturn:
    """Exit like an interpreter that ends: wait for threads, call exit functions, write what is buffered."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        import atexit

        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code & 0xFF)
