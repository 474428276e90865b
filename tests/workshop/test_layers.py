"""The picture of the house stays true: imports point down, never up (docs/developing.md)."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mailganer"

# From the ground up. A room may use what stands on its own floor or below.
FLOORS = (
    {"errors"},
    {"rendering", "backends", "mail_catcher"},
    {"models", "db", "settings", "vault", "broker", "migrations", "logs", "data_folder", "i18n"},
    {"queue", "ledger", "quota", "periodic_jobs"},
    {"accounts", "audience", "campaigns", "tracking", "reports", "billing"},
    {"sending"},
    {"web"},
    {"views", "api"},
    {"__init__", "__main__", "cli", "drill", "worker", "wsgi"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PURE = {"rendering", "backends"}


def rooms() -> list[str]:
    names = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}
    return sorted(name.removesuffix(".py") for name in names)


def modules(room: str) -> list[Path]:
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{room}.py"]


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of everything a module imports from us, inside functions too, but not for types only."""
    package = ["mailganer", *path.relative_to(PACKAGE).parts[:-1]]
    for node in _importing(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module or "").split(".")] if node.module else base
            names = [[*module, alias.name] for alias in node.names]
        for name in names:
            if name[0] == "mailganer" and len(name) > 1 and name[1] in FLOOR:
                yield node.lineno, name[1]


def _importing(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from _importing(child)


def test_every_room_has_its_floor():
    assert set(rooms()) <= set(FLOOR), "say in FLOORS where the new room stands"


def test_the_house_is_described_with_every_room_and_the_floors_it_has():
    page = (PACKAGE.parent / "docs" / "developing.md").read_text()
    house = page.partition("```\nmailganer/\n")[2].partition("```")[0]
    assert {room for room in rooms() if not re.search(rf"\b{room}(\.py|/)", house)} <= {"__main__"}
    drawn = page.partition("keeps them true:\n\n")[2].partition(".\n")[0]
    floors = [set(re.findall(r"\w+", floor)) for floor in drawn.split(">")]
    assert floors == [floor - {"__main__"} for floor in reversed(FLOORS)]


@pytest.mark.parametrize("room", rooms())
def test_imports_point_down(room):
    upward = [
        f"{path.relative_to(PACKAGE)}:{line} imports {used}"
        for path in modules(room)
        for line, used in imported_rooms(path)
        if FLOOR[used] > FLOOR[room]
    ]
    assert upward == []


@pytest.mark.parametrize("room", sorted(PURE))
def test_what_plugin_authors_and_designers_read_imports_nothing_of_ours_but_the_errors(room):
    foreign = [
        f"{path.relative_to(PACKAGE)}:{line} imports {used}"
        for path in modules(room)
        for line, used in imported_rooms(path)
        if used not in {room, "errors"}
    ]
    assert foreign == []


@pytest.mark.parametrize(("room", "other"), [("views", "api"), ("api", "views")])
def test_pages_and_api_never_import_each_other(room, other):
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in modules(room)
        for line, used in imported_rooms(path)
        if used == other
    ]
    assert found == []


def test_only_quota_reads_and_changes_the_rolling_counts():
    elsewhere = [
        path.relative_to(PACKAGE)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in {"quota", "models", "migrations"}
    ]
    found = [str(path) for path in elsewhere if re.search(r"\bUsage\b", (PACKAGE / path).read_text())]
    assert found == []


def test_rooms_of_one_floor_do_not_go_round_in_circles():
    graph = {
        room: {used for path in modules(room) for _, used in imported_rooms(path)} - {room}
        for room in FLOORS[4] & set(rooms())
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle
