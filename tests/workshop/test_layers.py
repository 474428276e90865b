"""Imports point down, never up: the layers of docs/developing.md."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mailganer"

# From the lowest up. A package may import from its own layer and those below.
LAYERS = (
    {"errors"},
    {"rendering", "backends", "mail_catcher"},
    {
        "models",
        "db",
        "clock",
        "monotonic",
        "settings",
        "vault",
        "broker",
        "migrations",
        "logs",
        "data_folder",
        "i18n",
    },
    {"queue", "ledger", "quota", "subscriber_counts", "periodic_jobs", "worker_process", "broker_monitor"},
    {"accounts", "audience", "campaigns", "tracking", "reports", "billing"},
    {"sending"},
    {"web"},
    {"views", "api"},
    {"__init__", "__main__", "cli", "drill", "worker", "worker_events", "wsgi"},
)
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}
PURE = {"rendering", "backends"}


def packages() -> list[str]:
    names = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")}
    return sorted(name.removesuffix(".py") for name in names)


def modules(package: str) -> list[Path]:
    folder = PACKAGE / package
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{package}.py"]


def imported_packages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and package of each import from ours, in functions too, but not of those for types only."""
    parent = ["mailganer", *path.relative_to(PACKAGE).parts[:-1]]
    for node in _importing(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            base = parent[: len(parent) - node.level + 1] if node.level else []
            module = [*base, *(node.module or "").split(".")] if node.module else base
            names = [[*module, alias.name] for alias in node.names]
        for name in names:
            if name[0] == "mailganer" and len(name) > 1 and name[1] in LAYER:
                yield node.lineno, name[1]


def _importing(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from _importing(child)


def test_every_package_has_a_layer():
    assert set(packages()) <= set(LAYER), "add the new package to its layer in LAYERS"


def test_the_documentation_lists_every_package_and_layer():
    page = (PACKAGE.parent / "docs" / "developing.md").read_text()
    tree = page.partition("```\nmailganer/\n")[2].partition("```")[0]
    assert {package for package in packages() if not re.search(rf"\b{package}(\.py|/)", tree)} <= {"__main__"}
    drawn = page.partition("keeps them true:\n\n")[2].partition(".\n")[0]
    layers = [set(re.findall(r"\w+", layer)) for layer in drawn.split(">")]
    assert layers == [layer - {"__main__"} for layer in reversed(LAYERS)]


@pytest.mark.parametrize("package", packages())
def test_imports_point_down(package):
    upward = [
        f"{path.relative_to(PACKAGE)}:{line} imports {used}"
        for path in modules(package)
        for line, used in imported_packages(path)
        if LAYER[used] > LAYER[package]
    ]
    assert upward == []


@pytest.mark.parametrize("package", sorted(PURE))
def test_pure_packages_import_nothing_of_ours_but_the_errors(package):
    foreign = [
        f"{path.relative_to(PACKAGE)}:{line} imports {used}"
        for path in modules(package)
        for line, used in imported_packages(path)
        if used not in {package, "errors"}
    ]
    assert foreign == []


@pytest.mark.parametrize(("package", "other"), [("views", "api"), ("api", "views")])
def test_pages_and_api_never_import_each_other(package, other):
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in modules(package)
        for line, used in imported_packages(path)
        if used == other
    ]
    assert found == []


def test_the_order_of_api_wrappers_stands_in_one_place():
    orders = re.compile(r"add_tween|add_view_deriver|decorator=(?!wrappers\()")
    found = {path.name for path in modules("api") if orders.search(path.read_text())}
    assert found == {"wrappers.py"}


def test_only_quota_reads_and_changes_the_rolling_counts():
    elsewhere = [
        path.relative_to(PACKAGE)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] not in {"quota", "models", "migrations"}
    ]
    found = [str(path) for path in elsewhere if re.search(r"\bUsage\b", (PACKAGE / path).read_text())]
    assert found == []


def test_packages_of_one_layer_do_not_import_in_circles():
    graph = {
        package: {used for path in modules(package) for _, used in imported_packages(path)} - {package}
        for package in LAYERS[4] & set(packages())
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle
