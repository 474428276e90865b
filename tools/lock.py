"""Write ``requirements/``: the versions that are installed and tested, with their hashes (``make lock``).

Each file adds to the one before: requirements of the program, of the embedded parts, of the tests.
They hold for every Python from ``OLDEST`` on and for every platform, and name no package index.
"""

import ast
import re
import subprocess
import tempfile
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
OLDEST = "3.11"
RESOLVER = "uv==0.13.9"
LAYERS: Mapping[str, Sequence[str]] = {
    "run": ("REQUIRES",),
    "embedded": ("REQUIRES", "EMBEDDED"),
    "test": ("REQUIRES", "EMBEDDED", "TEST"),
}
"""The lists of setup.py behind each file; the last has all of them."""

HEAD = "# Written by make lock from setup.py. Do not edit.\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        resolver = _install_resolver(Path(folder))
        everything = _resolve(resolver, _declared(LAYERS["test"]))
        constraints = Path(folder) / "everything.txt"
        constraints.write_text(everything)
        written: set[str] = set()
        FOLDER.mkdir(exist_ok=True)
        for layer, lists in LAYERS.items():
            blocks = blocks_of(_resolve(resolver, _declared(lists), "--constraint", str(constraints)))
            new = [block for name, block in blocks if name not in written]
            written |= {name for name, _block in blocks}
            (FOLDER / f"{layer}.txt").write_text(HEAD + "".join(new))


def blocks_of(text: str) -> Sequence[tuple[str, str]]:
    """Return each requirement of a file with its hashes, and its name."""
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    return [(re.split(r"[=;\s]", block, maxsplit=1)[0], block) for block in blocks if "==" in block]


def _declared(lists: Iterable[str]) -> str:
    found: dict[str, list[str]] = {}
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in LAYERS["test"]:
                found[name] = ast.literal_eval(value)
    return "\n".join(requirement for name in lists for requirement in found[name])


def _install_resolver(folder: Path) -> Path:
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", RESOLVER], check=True)
    return python.with_name("uv")


def _resolve(resolver: Path, requirements: str, *more: str) -> str:
    command = [
        *(str(resolver), "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST),
        *("--generate-hashes", "--only-binary", ":all:", "--no-header", "--no-annotate", "--no-config"),
        *(*more, "-"),
    ]
    done = subprocess.run(command, input=requirements, text=True, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit("The versions could not be resolved; the resolver's words are above.")
    return done.stdout


if __name__ == "__main__":
    main()
