"""The render process: quick, replaced when it dies, safe with threads and after a fork."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from mailganer.errors import EmailError
from mailganer.rendering import Source, compile_email, render_process, safe_render

EMAIL = Source("Hello {{ name }}", html="<p>{{ name }}</p>")


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def helpers() -> list[int]:
    return [helper.process.pid for helper in render_process._helpers._idle]


def test_a_warm_child_compiles_one_email_after_the_other() -> None:
    compile_email(EMAIL)
    warm = helpers()
    for _again in range(5):
        compile_email(EMAIL)
    assert warm
    assert helpers() == warm


def test_a_bomb_leaves_the_helper_alive_for_the_next_email() -> None:
    compile_email(EMAIL)
    before = helpers()
    bomb = vars(Source("x", html="{{ x }}" * 70_000))
    with pytest.raises(EmailError, match="cannot be rendered"):
        render_process.ask("compile", source=bomb, variables={}, overriding=[], ours="", targets={})
    assert compile_email(EMAIL)
    assert set(before) & set(helpers())


def test_a_helper_that_was_killed_is_replaced() -> None:
    compile_email(EMAIL)
    for pid in helpers():
        os.kill(pid, signal.SIGKILL)
    assert compile_email(EMAIL).variables == {"name"}


def test_a_helper_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_process, "WALL_SECONDS", 1.0)
    compile_email(EMAIL)
    for pid in helpers():
        os.kill(pid, signal.SIGSTOP)
    assert compile_email(EMAIL).variables == {"name"}


def test_threads_get_their_own_answers() -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for _again in range(5):
            email = compile_email(Source(f"{number} {{{{ name }}}}", html="x"))
            subject = safe_render(email, {"name": number}).subject
            if subject != f"{number} {number}":
                wrong.append(subject)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not wrong


def test_forked_processes_do_not_share_a_helper() -> None:
    done = run_python(
        """
        import os
        from mailganer.rendering import Source, compile_email, render_process
        compile_email(Source("x", html="x"))
        mine = render_process._helpers._idle[0].process.pid
        for number in range(3):
            pid = os.fork()
            if pid == 0:
                email = compile_email(Source(f"{number}", html="x"))
                ok = email.subject == str(number) and render_process._helpers._idle[0].process.pid != mine
                render_process._helpers.close()
                os._exit(0 if ok else 1)
            assert os.waitpid(pid, 0)[1] == 0
        assert compile_email(Source("again", html="x")).subject == "again"
        assert render_process._helpers._idle[0].process.pid == mine
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_worker_whose_processes_may_have_no_children_can_compile() -> None:
    # Celery's pool processes are daemonic: multiprocessing does not allow them children.
    done = run_python(
        """
        import multiprocessing
        from mailganer.rendering import Source, compile_email

        def work(queue):
            queue.put(compile_email(Source("hi", html="x")).subject)

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            queue = context.Queue()
            process = context.Process(target=work, args=(queue,), daemon=True)
            process.start()
            assert queue.get(timeout=30) == "hi"
            process.join(30)
        """
    )
    assert done.returncode == 0, done.stderr


def test_the_helper_ends_with_its_caller_however_that_ends() -> None:
    script = """
        import os, signal, sys
        from mailganer.rendering import Source, compile_email, render_process
        compile_email(Source("x", html="x"))
        print(render_process._helpers._idle[0].process.pid, flush=True)
        if sys.argv[1:] == ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        """
    for extra in ([], ["die"]):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *extra],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
        )
        pid = int(done.stdout)
        deadline = time.monotonic() + 15
        while _is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_first_email_of_a_process_does_not_wait_long() -> None:
    done = run_python(
        """
        import time
        from mailganer.rendering import Source, compile_email
        began = time.monotonic()
        compile_email(Source("x", html="<p>x</p>"))
        print(time.monotonic() - began)
        """
    )
    assert done.returncode == 0, done.stderr
    # Half a second on a quiet machine; the tests may run on a busy one.
    assert float(done.stdout) < 2.5


def test_the_child_does_not_load_the_application() -> None:
    boot = render_process._BOOT.replace(
        "serve(int(sys.argv[2]))", "from mailganer.rendering import render_tasks\nprint(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", boot, str(Path(render_process.__file__).parents[1])],
        capture_output=True,
        text=True,
        timeout=60,
        env={},
    )
    loaded = done.stdout.split()
    assert "mailganer.rendering.render_tasks" in loaded, done.stderr
    ours = [name for name in loaded if name.startswith("mailganer.")]
    assert not [name for name in ours if not name.startswith(("mailganer.rendering", "mailganer.errors"))]
    assert not [name for name in loaded if name.startswith(("sqlalchemy", "pyramid", "celery"))]
