"""Separate process with limits in which untrusted templates are compiled and rendered.

One helper per calling process, started on first use and kept: it has everything imported, an empty
environment and nothing open but its pipes. For every email it forks a process limited in memory, CPU time and
files, and kills it when its time is up. So a malicious template harms only its own process, nothing is left
behind for the next email, and a preview costs a fork instead of a start of Python.

This module is both sides. It does not use ``multiprocessing``: the processes of a Celery worker may not have
children of that kind.
"""

import atexit
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from translationstring import TranslationString

from ..errors import AccountBusy, Busy, EmailError, _, composed
from . import localized_values, render_budget
from .render_budget import RenderTooLarge

MEMORY = 256 * 1024 * 1024
CPU_SECONDS = 2
WALL_SECONDS = 3.0
WAIT_SECONDS = 5.0  # that a caller waits for its turn
LINE_SECONDS = 1.0  # that a caller waits to join the queue: an email takes some hundredths of a second
ACCOUNT_SECONDS = 0.5  # the same when the caller's account has too many queued, unless one of them was slow
MOST_WAITING = 5  # threads of a process that wait; the others stay free for requests without templates
MOST_OF_ONE = 6  # emails of one account at once, as many as a browser requests: one runs, others wait
MOST_SLOW = 2  # the same for an account that had a slow email lately
SLOW = 0.3  # seconds of CPU time from which an email is slow
SLOW_FOR = 60.0  # seconds
_MOST_KNOWN = 1000  # accounts with slow emails
ASK_AGAIN = 5  # seconds until a refused caller should retry
# Largest answer: a compiled email as JSON with the source, its text part and its links.
ANSWER = 8_000_000

_LENGTH = struct.Struct("!I")
_SPENT = struct.Struct("!f")  # before each answer: the seconds of CPU time it took


# --- the caller's side


class _Helper:
    """A running helper process and its pipes. Handles one request at a time."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.spent = 0.0  # seconds of CPU time used by the last request
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own text
            [sys.executable, "-I", "-c", _BOOT, str(Path(__file__).parents[1]), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            close_fds=True,
            start_new_session=True,  # Ctrl-C in a terminal is for the caller, who then closes the pipe
        )
        self.questions = cast(IO[bytes], self.process.stdin)
        self.answers = cast(IO[bytes], self.process.stdout)

    def ask(self, question: bytes) -> bytes:
        """Send a request, return the answer. Raises ``OSError`` or ``EOFError`` when the helper is gone."""
        self.questions.write(_LENGTH.pack(len(question)) + question)
        self.questions.flush()
        if not select.select([self.answers], [], [], 2 * WALL_SECONDS)[0]:
            raise TimeoutError("the helper does not answer")
        frame = _read_frame(self.answers)
        (self.spent,) = _SPENT.unpack_from(frame)
        return frame[_SPENT.size :]

    def close(self) -> None:
        for pipe in (self.questions, self.answers):
            with suppress(OSError):
                pipe.close()
        if self.owner == os.getpid():
            # It exits when its pipe is closed; a stuck one is killed.
            try:
                self.process.wait(timeout=WALL_SECONDS + 1)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        else:
            # In a process that was forked with the pipes open: the helper belongs to the parent.
            self.process.returncode = 0


# Skips mailganer/__init__.py, which would import the whole application.
_BOOT = (
    "import sys, types\n"
    "package = types.ModuleType('mailganer')\n"
    "package.__path__ = [sys.argv[1]]\n"
    "sys.modules['mailganer'] = package\n"
    "from mailganer.rendering.render_process import serve\n"
    "serve(int(sys.argv[2]))\n"
)


class _AccountQueue:
    """Requests of one account that run or wait."""

    def __init__(self) -> None:
        self.number = 0
        self.semaphore = threading.BoundedSemaphore(1)


class _Helpers:
    """The helpers of this process: one, or two when two threads send requests at once.

    A few more requests wait, for seconds. One account has one helper at most and a few requests that wait:
    the other helper serves the other accounts.
    """

    def __init__(self, most: int = 2) -> None:
        self._room = threading.BoundedSemaphore(most)
        self._line = threading.BoundedSemaphore(most + MOST_WAITING)
        self._idle: list[_Helper] = []
        self._lock = threading.Lock()
        self._accounts: dict[int, _AccountQueue] = {}
        self._counting = threading.Condition()
        self._slow: dict[int, float] = {}  # account -> until when it counts as slow

    @contextmanager
    def _permit(self) -> Iterator[None]:
        """Wait for a free helper. Raises ``Busy`` when too many wait, or when it takes too long."""
        until = time.monotonic() + WAIT_SECONDS
        with self._queued(_account.get()) as own:
            if not self._line.acquire(timeout=LINE_SECONDS):
                raise Busy(_BUSY, ASK_AGAIN)
            try:
                mine = _held(own.semaphore, until, AccountBusy(_ACCOUNT_BUSY, ASK_AGAIN))
                with mine, _held(self._room, until, Busy(_BUSY, ASK_AGAIN)):
                    yield
            finally:
                self._line.release()

    @contextmanager
    def _queued(self, account: int | None) -> Iterator[_AccountQueue]:
        """Count one more request of an account. Raises ``AccountBusy`` when it has too many."""
        if account is None:
            yield _AccountQueue()
            return
        with self._counting:
            slow = self._slow.get(account, 0.0) > time.monotonic()
            most, seconds = (MOST_SLOW, 0.0) if slow else (MOST_OF_ONE, ACCOUNT_SECONDS)
            if not self._counting.wait_for(lambda: self._queued_of(account) < most, seconds):
                raise AccountBusy(_ACCOUNT_BUSY, ASK_AGAIN)
            own = self._accounts.setdefault(account, _AccountQueue())
            own.number += 1
        try:
            yield own
        finally:
            with self._counting:
                own.number -= 1
                if not own.number:
                    del self._accounts[account]
                self._counting.notify_all()

    def _queued_of(self, account: int) -> int:
        own = self._accounts.get(account)
        return own.number if own else 0

    def note(self, account: int | None, spent: float) -> None:
        """Record that an email of an account took ``spent`` seconds of CPU time, if it was slow."""
        if account is None or spent < SLOW:
            return
        now = time.monotonic()
        with self._counting:
            if len(self._slow) >= _MOST_KNOWN:
                self._slow = {each: until for each, until in self._slow.items() if until > now}
            if len(self._slow) < _MOST_KNOWN:
                self._slow[account] = now + SLOW_FOR

    def ask(self, question: bytes) -> bytes:
        """Return a helper's answer. Raises ``Busy``, or ``EmailError`` when no helper answers."""
        with self._permit():
            # A helper that was killed from outside is replaced once; a second failure is reported.
            for last in (False, True):
                helper = self._take()
                try:
                    answer = helper.ask(question)
                except (OSError, EOFError):
                    helper.process.kill()
                    helper.close()
                    if last:
                        raise EmailError(_("The email could not be rendered right now. Try again.")) from None
                    continue
                except BaseException:
                    # Half an answer may be in the pipe: it must not become the answer to the next request.
                    helper.process.kill()
                    helper.close()
                    raise
                self.note(_account.get(), helper.spent)
                with self._lock:
                    self._idle.append(helper)
                return answer
        raise AssertionError("unreachable")

    def _take(self) -> _Helper:
        with self._lock:
            while self._idle:
                helper = self._idle.pop()
                if helper.owner == os.getpid() and helper.process.poll() is None:
                    return helper
                helper.close()
        return _Helper()

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().close()


_BUSY = _("Too many emails are being rendered right now. Try again in a few seconds.")
_ACCOUNT_BUSY = _("This account is rendering too many emails right now. Try again in a few seconds.")
_account: ContextVar[int | None] = ContextVar("account", default=None)
_helpers = _Helpers()


@contextmanager
def _held(semaphore: threading.Semaphore, until: float, error: Busy) -> Iterator[None]:
    """Hold ``semaphore``, or raise ``error`` at the time ``until``."""
    if not semaphore.acquire(timeout=max(0.0, until - time.monotonic())):
        raise error
    try:
        yield
    finally:
        semaphore.release()


@contextmanager
def counted_to(account: int | None) -> Iterator[None]:
    """Count the requests of this thread to an account."""
    before = _account.set(account)
    try:
        yield
    finally:
        _account.reset(before)


@contextmanager
def render_permit() -> Iterator[None]:
    """Hold one of the few render slots of this process. Raises ``Busy`` as ``ask`` does."""
    require_no_transaction()
    with _helpers._permit():
        account, since = _account.get(), time.thread_time()
        try:
            yield
        finally:
            _helpers.note(account, time.thread_time() - since)


def _forget() -> None:
    """Drop the parent's helpers in a forked process: locks and half-read pipes belong to the parent."""
    global _helpers
    inherited, _helpers = _helpers._idle, _Helpers()
    for helper in inherited:
        helper.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: _helpers.close())


_refusals: list[Callable[[], bool]] = []


def refuse_while(busy: Callable[[], bool]) -> None:
    """Refuse to render in a thread for which ``busy`` is true: it would block others."""
    if busy not in _refusals:
        _refusals.append(busy)


def require_no_transaction() -> None:
    """Raise ``RuntimeError`` where a template may not be compiled or rendered: inside a transaction."""
    if any(busy() for busy in _refusals):
        raise RuntimeError("no template runs inside a database transaction: see db.without_transaction")


def ask(task: str, **arguments: Any) -> Any:
    """Return the result of one of the ``TASKS``, run under limits. Raises ``EmailError`` and ``Busy``."""
    require_no_transaction()
    question = json.dumps({"task": task, **arguments}, default=_plain_json).encode()
    answer = json.loads(_helpers.ask(question))
    if "error" in answer:
        raise _error_from(answer["error"])
    return answer["answer"]


def _plain_json(value: object) -> Any:
    if isinstance(value, datetime):
        return {"$moment": value.isoformat()}
    if isinstance(value, date):
        return {"$day": value.isoformat()}
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)


def _from_json(value: dict[str, Any]) -> Any:
    if len(value) == 1:
        if "$moment" in value:
            return datetime.fromisoformat(value["$moment"])
        if "$day" in value:
            kind = localized_values.DayAndMonth if value["$day"].startswith("--") else date
            return kind.fromisoformat(value["$day"])
    return value


def _error_to(error: EmailError) -> dict[str, Any]:
    return {"message": _message_to(error.message), "field": error.field, "line": error.line}


def _error_from(kept: Mapping[str, Any]) -> EmailError:
    return EmailError(_message_from(kept["message"]), str(kept["field"]), kept["line"])


def _message_to(message: object) -> Any:
    """Return a message with its parameters, so that it can still be translated into any language."""
    if not isinstance(message, TranslationString):
        return str(message)
    mapping = {name: _message_to(value) for name, value in (message.mapping or {}).items()}
    return {"msgid": str(message), "mapping": mapping}


def _message_from(kept: Any) -> str:
    if not isinstance(kept, dict):
        return str(kept)
    mapping = {str(name): _message_from(value) for name, value in kept["mapping"].items()}
    return composed(kept["msgid"], mapping)


# --- the helper's side


def _read_frame(pipe: IO[bytes]) -> bytes:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    body = pipe.read(length)
    if len(body) < length:
        raise EOFError
    return body


def serve(parent: int) -> None:
    """Serve requests until the caller is gone, however it exited."""
    from . import render_tasks  # everything is imported before the first fork

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        # A forked sibling of the caller may hold the other end of the pipe open forever.
        while not select.select([questions], [], [], 5)[0]:
            if os.getppid() != parent:
                return
        try:
            question = _read_frame(questions)
        except EOFError:
            return
        answer, spent = _in_limits(partial(_answer, render_tasks.TASKS, question))
        frame = _SPENT.pack(spent) + answer
        answers.write(_LENGTH.pack(len(frame)) + frame)
        answers.flush()


def _in_limits(work: Callable[[], bytes]) -> tuple[bytes, float]:
    """Run ``work`` in its own process and return its result, or an error that names the exceeded limit.

    The second value is the CPU time of that process, in seconds.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _work_and_exit(work, writing)
    os.close(writing)
    try:
        answer = _read_until(reading, time.monotonic() + WALL_SECONDS)
    finally:
        os.close(reading)
        # Also after an answer: the process has nothing left to do.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        used = os.wait4(pid, 0)[2]
    spent = used.ru_utime + used.ru_stime
    if answer is None or not answer.endswith(b"\n"):
        return _refusal(RenderTooLarge(render_budget.STOPPED)), spent
    return answer, spent


def _read_until(pipe: int, deadline: float) -> bytes | None:
    pieces: list[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return None
        piece = os.read(pipe, 1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER:
            return None


def _work_and_exit(work: Callable[[], bytes], pipe: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        answer = memoryview(work())
        while answer:
            answer = answer[os.write(pipe, answer) :]
    finally:
        os._exit(0)


def _answer(tasks: Mapping[str, Callable[..., Any]], question: bytes) -> bytes:
    try:
        arguments = json.loads(question, object_hook=_from_json)
        answer = tasks[arguments.pop("task")](**arguments)
        return json.dumps({"answer": answer}, default=_plain_json).encode() + b"\n"
    except EmailError as error:
        return _refusal(error)
    except MemoryError:
        return _refusal(RenderTooLarge(render_budget.MEMORY))
    except RecursionError:
        return _refusal(RenderTooLarge(render_budget.DEEP))
    except Exception as error:
        # An error of ours or of a library is reported as such and not taken for a limit.
        message = f"{type(error).__name__}: {error}"[:200]
        return _refusal(EmailError(_("The email could not be read: ${reason}", mapping={"reason": message})))


def _refusal(error: EmailError) -> bytes:
    return json.dumps({"error": _error_to(error)}).encode() + b"\n"
