"""Parts that are forks of ``mailganer serve``: each behaves like a process that was started anew."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from mailganer import worker_events, worker_process
from mailganer.sending import watchdog

from ..support.ports import wait_until

PARENT = """
import atexit, logging, os, signal, sys, time
from mailganer.cli.command_logs import command_logs
from mailganer.cli.forked import ForkedProcess
from mailganer.cli.processes import Part, ProcessTree
def run():
    atexit.register(lambda: print("exit function", flush=True))
{body}
tree = ProcessTree(lambda sentence: print(sentence, flush=True))
tree.listen()
with command_logs(), open("lock", "w") as lock:
    try:
        code = tree.run(Part("web", (), run, {{"NEW": "1"}}))
    finally:
        print("the parent goes on", flush=True)
print("code", code)
"""


def output_of(body: str, tmp_path: Path) -> list[str]:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    program = PARENT.format(body=lines)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, cwd=tmp_path
    )
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return 7", 7),
        ("sys.exit()", 0),
        ("raise SystemExit(3)", 3),
        ("sys.exit('no broker')", 1),
        ("raise ValueError('broken')", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", -15),
    ],
)
def test_a_fork_ends_with_the_code_of_its_function_and_unwinds_nothing_of_its_parent(
    body: str, code: int, tmp_path: Path
) -> None:
    lines = output_of(body, tmp_path)
    assert f"code {code}" in lines
    assert lines.count("the parent goes on") == 1
    assert ("exit function" in lines) is (code >= 0)
    assert ("no broker" in lines) is ("no broker" in body)
    assert any("ValueError: broken" in line for line in lines) is ("broken" in body)


def test_a_fork_inherits_no_file_no_handler_and_no_log_but_the_environment(tmp_path: Path) -> None:
    seen = output_of(
        "print(sorted(os.readlink(f'/proc/self/fd/{each}')[:9] for each in os.listdir('/proc/self/fd')"
        " if int(each) > 2 and os.path.exists(f'/proc/self/fd/{each}')))\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.pthread_sigmask(0, ()))\n"
        "print(logging.getLogger().handlers, os.environ['NEW'], os.environ['MAILGANER_PART'])\n"
        "print(os.getsid(0) == os.getpid(), os.readlink('/proc/self/fd/0'))\n"
        "return 0",
        tmp_path,
    )
    assert seen[:4] == ["[]", "True set()", "[] 1 web", "True /dev/null"]


def test_a_fork_is_shown_by_its_own_name(tmp_path: Path) -> None:
    body = (
        "for each in ('cmdline', 'comm'):\n"
        "    print(open('/proc/self/' + each).read().strip(chr(0) + chr(10)))\n"
        "return 0"
    )
    assert output_of(body, tmp_path)[:2] == ["mailganer web"] * 2


def test_a_process_with_threads_is_not_forked(tmp_path: Path) -> None:
    program = (
        "import threading\nfrom mailganer.cli.forked import ForkedProcess\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "ForkedProcess(lambda: 0, 'web', {}, None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "A process with threads cannot be forked" in done.stderr


def test_what_is_imported_before_the_forks_starts_no_thread_and_opens_nothing(tmp_path: Path) -> None:
    program = (
        "import os, threading\nfrom mailganer.cli.forked import preload\n"
        "from mailganer.cli.shared_modules import SENDING_MODULES, WEB_MODULES\n"
        "before = os.listdir('/proc/self/fd')\npreload(WEB_MODULES)\npreload(SENDING_MODULES)\n"
        "print(threading.active_count(), os.listdir('/proc/self/fd') == before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True"]


def test_a_worker_does_not_stop_because_another_fork_of_the_same_process_was_stopped() -> None:
    worker_process.request_stop()
    watchdog.begin_task()
    assert worker_process.is_stopping()
    worker_events.prepare()
    assert not worker_process.is_stopping()
    assert not any(watchdog._busy[:])


def test_parts_of_serve_share_one_program_and_no_lock(start_installation: Any) -> None:
    installation = start_installation(forked=False)
    for name in ("web", "worker", "beat"):
        part = installation.part(name)
        assert part.cmdline() == ["mailganer", name]
        assert not [file.path for file in part.open_files() if file.path.endswith("serve.lock")]
    installation.part("worker").send_signal(signal.SIGTERM)
    wait_until(
        lambda: "The worker ended" in installation.log.read_text() and "worker" in installation.parts(),
        20,
        "a new worker",
    )
    assert installation.part("worker").cmdline() == ["mailganer", "worker"]
    memory = [psutil.Process(each.pid).memory_full_info() for each in installation.children()]
    assert sum(each.pss for each in memory) < 0.6 * sum(each.rss for each in memory)
