"""What a package exports, some module imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("mailganer", "tests", "benchmarks", "tools", "plugins")
FOR_PLUGINS = {"mailganer.backends", "mailganer.billing"}  # their exports are for packages of other authors

Names = set[tuple[str, str]]


def package_of(path: Path) -> list[str]:
    return list(path.relative_to(ROOT).parent.parts)


def used_names(path: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of everything that a module imports, or takes as an attribute of an import."""
    package, imported = package_of(path), {}
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{module}.{alias.name}"
                yield module, alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            yield imported[node.value.id], node.attr


def exports(path: Path) -> list[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


@pytest.fixture(scope="module")
def used() -> Names:
    return {name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") for name in used_names(path)}


def test_every_export_is_imported_somewhere(used: Names) -> None:
    packages = {".".join(package_of(path)): path for path in (ROOT / "mailganer").rglob("__init__.py")}
    unused = [
        f"{package}.{name}"
        for package, path in packages.items()
        if package not in FOR_PLUGINS
        for name in exports(path)
        if (package, name) not in used
    ]
    assert unused == []
