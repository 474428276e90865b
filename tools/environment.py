"""Create .venv and install Mailganer into it: ``python tools/environment.py embedded`` (or ``test``).

Needs only Python 3.11 or newer, not even pip. Does nothing if all is up to date, so that the
second ``make demo`` starts at once.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
EXPECTED = "about half a minute, some minutes on a busy machine or a slow network..."
IMPLIED = {"embedded": ("embedded",), "test": ("test", "embedded")}
LOCKED = {"embedded": ("run", "embedded"), "test": ("run", "embedded", "test")}
"""The files of ``requirements/`` that each is installed from; ``make lock`` writes them."""

PROGRAMS = (
    ("chromium", ("chromium", "chromium-browser", "google-chrome"), "The browser tests need Chromium"),
    ("dovecot-imapd", ("dovecot",), "The tests of what Gmail keeps need Dovecot"),
)
"""Debian's package, its possible names on PATH, and what needs it."""

NO_PIP = (
    "This Python has neither ensurepip nor pip, so nothing can be installed into .venv.\n"
    "Install them (Debian, Ubuntu: apt-get install python3-venv python3-pip) and run make again."
)


def main(extra: str) -> None:
    if not _installed(extra):
        began = time.monotonic()
        _say(f"Installing Mailganer into {VENV.name}, once: {EXPECTED}")
        if not _usable():
            _make()
        _install(extra)
        for name in IMPLIED[extra]:
            _stamp(name).write_text(_wanted())
        _say(f"Installed in {time.monotonic() - began:.0f} s.")
    if extra == "test":
        for program in PROGRAMS:
            _provide(*program)


def _installed(extra: str) -> bool:
    stamp = _stamp(extra)
    return stamp.is_file() and stamp.read_text() == _wanted() and PYTHON.exists()


def _stamp(extra: str) -> Path:
    return VENV / f"installed-{extra}"


def _wanted() -> str:
    """Return a key that changes with the requirements and the path of the checkout."""
    files = (ROOT / "setup.py", *sorted((ROOT / "requirements").glob("*.txt")))
    return f"{hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()} {ROOT}\n"


def _usable() -> bool:
    """Return whether .venv exists, has a supported Python, and was created at this path."""
    if not PYTHON.exists():
        return False
    seen = _run([PYTHON, "-c", "import sys; print(sys.version_info >= (3, 11), sys.prefix)"])
    return seen.stdout.strip() == f"True {VENV}"


def _make() -> None:
    """Create a virtual environment with pip, also where Debian packages both separately."""
    if _run([sys.executable, "-m", "venv", "--clear", VENV]).returncode == 0 and _has_pip(PYTHON):
        return
    if _run([sys.executable, "-m", "venv", "--clear", "--without-pip", VENV]).returncode:
        raise SystemExit(NO_PIP)
    if not any(map(_lend_pip, _pips())) and not _lend_pip_by_apt():
        raise SystemExit(NO_PIP)


def _pips() -> Iterator[Sequence[str | Path]]:
    """Return command lines of every pip on this machine that may install into another environment."""
    for name in (sys.executable, "python3", "python3.13", "python3.12", "python3.11"):
        if found := shutil.which(name):
            yield (found, "-m", "pip")
    if found := shutil.which("pip3") or shutil.which("pip"):
        yield (found,)


def _lend_pip(pip: Sequence[str | Path]) -> bool:
    return _run([*pip, "--python", PYTHON, "install", "-q", "pip"]).returncode == 0


def _lend_pip_by_apt() -> bool:
    return _apt("python3-pip") and _lend_pip(("/usr/bin/python3", "-m", "pip"))


def _has_pip(python: Path) -> bool:
    return _run([python, "-m", "pip", "--version"]).returncode == 0


def _install(extra: str) -> None:
    # Wheels only: building a package takes minutes and a compiler. Byte-compiled afterwards on all cores:
    # pip compiles files one by one.
    quick = ("-q", "--disable-pip-version-check", "--only-binary", ":all:", "--no-compile", "--no-deps")
    locked = [part for name in LOCKED[extra] for part in ("-r", ROOT / "requirements" / f"{name}.txt")]
    _pip("install", *quick, "--require-hashes", *locked)
    # Built by the locked setuptools, hence without build isolation.
    _pip("install", *quick, "--no-index", "--no-build-isolation", "-e", ROOT)
    _run([PYTHON, "-m", "compileall", "-q", "-j", "0", VENV / "lib"])


def _pip(*arguments: str | Path) -> None:
    done = _run([PYTHON, "-m", "pip", *arguments])
    if done.returncode:
        raise SystemExit(
            f"{done.stdout}{done.stderr}\nThe packages could not be installed; pip's words are above."
        )


def _provide(package: str, names: Sequence[str], need: str) -> None:
    """Install a program that pip does not provide, from the system's packages; else print what to do."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"  # folder of servers, on the PATH of root only
    if any(shutil.which(name, path=path) for name in names):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _say(f"Installing {package} for the tests, with apt-get...")
    if not _apt(package):
        _say(f"{need}, and it is not here. Install it (Debian: apt-get install {package}).")


def _apt(package: str) -> bool:
    """Install a system package as root on Debian; return whether it did."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    # In run level 1 Debian does not start installed services: the tests start their own.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    if _run(install, quiet).returncode == 0:
        return True
    return _run(["apt-get", "update", "-qq"], quiet).returncode == 0 and _run(install, quiet).returncode == 0


def _run(
    command: Sequence[str | Path], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment, check=False
    )


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in IMPLIED:
        raise SystemExit(f"usage: {sys.argv[0]} {'|'.join(IMPLIED)}")
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
