"""A tree of processes starts, restarts killed parts and ends as one."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from mailganer.cli import processes

from ..support.ports import die_with_parent, wait_until

PROGRAM = """
import sys
from pathlib import Path
from mailganer.cli.processes import Part, ProcessTree

folder = Path(sys.argv[1])
tree = ProcessTree(lambda sentence: print(sentence, flush=True), folder / "log")
tree.listen()
for line in (folder / "parts").read_text().splitlines():
    name, _, code = line.partition(" ")
    tree.start(Part(name, (sys.executable, "-c", code), last=name == "broker"))
print("started", flush=True)
tree.look_after()
tree.stop()
"""
SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "signal.signal(signal.SIGQUIT, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"


@pytest.fixture
def start(tmp_path):
    """Run a tree of the given parts in a separate process."""
    started = []

    def start(**parts):
        (tmp_path / "parts").write_text("".join(f"{name} {code}\n" for name, code in parts.items()))
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent,
        )
        started.append(process)
        assert process.stdout.readline() == "started\n"
        wait_until(lambda: len(children(process)) >= len(parts), what="the parts")
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def children(process):
    return psutil.Process(process.pid).children(recursive=True)


def all_gone(processes):
    return not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def deaf(tmp_path):
    """``deaf("worker")``: whether the stubborn part ignores signals by now."""
    return lambda part: "deaf" in (tmp_path / "log" / f"{part}.log").read_text()


def test_ctrl_c_ends_all_of_it(start):
    process = start(web=SLEEP, worker=SLEEP, broker=SLEEP)
    family = children(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 0
    assert all_gone(family)


def test_killing_the_parent_leaves_no_child(start):
    process = start(web=SLEEP, worker=SLEEP, broker=SLEEP)
    family = children(process)
    process.kill()
    process.wait()
    wait_until(lambda: all_gone(family), 5, "the children to end")


def test_a_part_that_does_not_listen_is_killed_with_all_it_started(start, deaf):
    process = start(worker=STUBBORN, web=PARENT)
    wait_until(lambda: len(children(process)) == 3, what="the grandchild")
    wait_until(lambda: deaf("worker"), what="the stubborn part")
    family = children(process)
    began = time.monotonic()
    process.terminate()
    assert process.wait(3 * processes.PATIENCE) == 0
    assert time.monotonic() - began > processes.PATIENCE
    wait_until(lambda: all_gone(family), 2, "the children to end")


def test_asked_twice_it_does_not_wait(start, deaf):
    process = start(worker=STUBBORN)
    wait_until(lambda: deaf("worker"), what="the stubborn part")
    process.terminate()
    time.sleep(0.3)
    process.terminate()
    process.wait(processes.PATIENCE)


def test_a_part_that_dies_is_started_again_and_that_is_said(start):
    process = start(web=SLEEP)
    (web,) = children(process)
    web.kill()
    assert process.stdout.readline().startswith("The web ended (SIGKILL) and will be restarted in 1 s.")
    wait_until(lambda: [each.pid for each in children(process) if each.pid != web.pid], 5, "the new one")


def test_a_part_that_keeps_dying_is_started_less_and_less_often(start):
    process = start(worker="import sys; sys.exit(3)", web=SLEEP)
    said = [process.stdout.readline() for _ in range(2)]
    assert [line.split(" will be restarted in ")[1].split(".")[0] for line in said] == ["1 s", "2 s"]
    assert "(exit code 3)" in said[0]


def test_what_a_part_writes_is_kept_in_its_log(start, tmp_path):
    start(web=f"print('hello from the web', flush=True); {SLEEP}")
    wait_until(lambda: "hello from the web" in (tmp_path / "log" / "web.log").read_text(), 5, "the log")


def test_a_big_log_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "LARGEST_LOG", 3)
    (tmp_path / "web.log").write_text("old words")
    tree = processes.ProcessTree(print, tmp_path)
    tree.start(processes.Part("web", (sys.executable, "-c", "print('new')")))
    wait_until(lambda: (tmp_path / "web.log").read_text() == "new\n", 5, "the new log")
    tree.stop()
    assert (tmp_path / "web.old.log").read_text() == "old words"


def test_a_part_run_to_its_end_returns_its_exit_code(tmp_path):
    tree = processes.ProcessTree(print)
    assert tree.run(processes.Part("migration", (sys.executable, "-c", "import sys; sys.exit(7)"))) == 7


def test_children_are_named_for_operators(start):
    process = start(web=SLEEP)
    assert children(process)[0].environ()["MAILGANER_PART"] == "web"
    assert "MAILGANER_PART" not in os.environ


def test_an_idle_tree_sleeps_until_a_part_dies(start):
    process = start(web=SLEEP, worker=SLEEP)
    parent = psutil.Process(process.pid)
    wait_until(lambda: parent.status() == psutil.STATUS_SLEEPING, 5, "the parent to wait")
    time.sleep(0.2)
    before = parent.num_ctx_switches().voluntary
    time.sleep(1)
    assert parent.num_ctx_switches().voluntary - before <= 1
    children(process)[0].kill()
    assert "ended (SIGKILL)" in process.stdout.readline()


def test_a_part_that_has_served_for_a_while_is_restarted_at_once() -> None:
    child = processes._Child(processes.Part("web", ["web"]), None)
    child.started = 100.0
    assert [child.put_off(101.0) for _death in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    child.started = 200.0
    assert child.put_off(200.1 + processes.STEADY) == processes.FIRST_PAUSE
