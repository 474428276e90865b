"""What is installed is whole: templates, styles, translations, migrations, ready letters."""

import subprocess
import sys
import tarfile
from importlib.metadata import distribution


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
