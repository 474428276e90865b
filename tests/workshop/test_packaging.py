"""The installed package is complete: templates, styles, translations, migrations, ready templates."""

import ast
import re
import subprocess
import sys
import tarfile
from functools import cache
from importlib.metadata import distribution, packages_distributions


def belongs(path):
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"


def build(root, folder, *command):
    return subprocess.run(
        [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(folder), *command],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )


def test_an_installed_package_has_every_file_of_the_checkout(root, tmp_path):
    build(root, tmp_path, "build_py", "--build-lib", str(tmp_path / "lib"))
    package = root / "mailganer"
    wanted = {path.relative_to(root) for path in package.rglob("*") if belongs(path)}
    built = {path.relative_to(tmp_path / "lib") for path in (tmp_path / "lib").rglob("*") if belongs(path)}
    assert wanted - built == set()
    assert not [path for path in built if path.parts[0] != "mailganer"]


def test_a_source_archive_has_what_an_installation_is_made_of(root, tmp_path):
    build(root, tmp_path, "sdist", "--dist-dir", str(tmp_path))
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"setup.py", "LICENSE", "README.md", "mailganer/templates/layout.jinja2"} <= names


def test_the_package_cannot_be_uploaded_under_a_name_that_belongs_to_others():
    assert "Private :: Do Not Upload" in distribution("mailganer").metadata.get_all("Classifier")


# setup.py


NOT_IMPORTED = {
    "plaster-pastedeploy": "reads ini files for plaster",
    "psycopg": "the address of the database names it",
    "transaction": "what pyramid_tm begins and zope.sqlalchemy joins",
    "setuptools": "pyramid imports its pkg_resources",
    "mypy": "a program",
    "openapi-python-client": "a program",
    "ruff": "a program",
    "pytest-cov": "a plugin of pytest",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
}
OURS = {"mailganer", "tests", "tools", "benchmarks", "_typeshed"}
FOR_AUTHORS = {"pytest"}  # mailganer.backends.testing is for authors of backends and their tests


def declared(root, *lists):
    """Return the distributions in these lists of setup.py."""
    found = set()
    for node in ast.parse((root / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in lists:
            found |= {canonical(re.match(r"[\w.-]+", each)[0]) for each in ast.literal_eval(node.value)}
    return found


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def imported(root, *folders):
    """Return the top-level names that the modules below import, ``include`` and ``import_module`` too."""
    paths = [path for folder in folders for path in (root / folder).rglob("*.py")]
    names = {name for path in paths for node in ast.walk(ast.parse(path.read_text())) for name in named(node)}
    return {name.split(".")[0] for name in names} - OURS - sys.stdlib_module_names - {""}


def named(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [] if node.level else [node.module]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        function = ast.unparse(node.func).split(".")[-1]
        return [node.args[0].value] if function in {"include", "import_module", "find_spec"} else []
    return []


known = cache(packages_distributions)  # reads what each installed package holds


def owners(name):
    """Return the possible distributions: ``zope`` belongs to several."""
    return {canonical(each) for each in known().get(name, [name])}


def test_everything_imported_is_declared(root):
    shipped = declared(root, "REQUIRES", "EMBEDDED") | FOR_AUTHORS
    assert [name for name in imported(root, "mailganer") if not owners(name) & shipped] == []
    all_of_it = declared(root, "REQUIRES", "EMBEDDED", "TEST")
    assert [
        name for name in imported(root, "tests", "tools", "benchmarks") if not owners(name) & all_of_it
    ] == []


def test_everything_declared_is_imported(root):
    shipped = {owner for name in imported(root, "mailganer") for owner in owners(name)}
    assert declared(root, "REQUIRES", "EMBEDDED") - shipped - set(NOT_IMPORTED) == set()
    in_tests = {owner for name in imported(root, "tests", "tools", "benchmarks") for owner in owners(name)}
    assert declared(root, "TEST") - in_tests - set(NOT_IMPORTED) == set()
