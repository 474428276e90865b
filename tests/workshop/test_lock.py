"""The lock contains all requirements of setup.py for every Python, with hashes and without an index."""

import ast
import re
import runpy
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LAYERS = ("run", "embedded", "test")
PYTHONS = ("3.11.9", "3.12.9", "3.13.1")
LISTS = {"run": ("REQUIRES",), "embedded": ("EMBEDDED",), "test": ("TEST",)}


def environment(python, **more):
    return {"python_version": python.rpartition(".")[0], "python_full_version": python, **more}


@pytest.fixture(scope="module")
def blocks_of(pytestconfig):
    return runpy.run_path(str(pytestconfig.rootpath / "tools" / "lock.py"))["blocks_of"]


@pytest.fixture(scope="module")
def lock(blocks_of, pytestconfig):
    """Return the blocks of each file."""
    folder = pytestconfig.rootpath / "requirements"
    return {layer: blocks_of((folder / f"{layer}.txt").read_text()) for layer in LAYERS}


def pins(lock, python, layers=LAYERS):
    """Return the version of each package that this Python installs."""
    found = {}
    for layer in layers:
        for _name, block in lock[layer]:
            pin = Requirement(block.split("\\")[0].split("--hash")[0].strip())
            if pin.marker is None or pin.marker.evaluate(environment(python)):
                assert canonicalize_name(pin.name) not in found, f"{pin.name} is locked twice"
                found[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("==")
    return found


def declared(root, names):
    for node in ast.parse((root / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in names:
            yield from map(Requirement, ast.literal_eval(node.value))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_lock_satisfies_the_bounds_of_setup_py(root, lock, layer, python):
    locked = pins(lock, python, LAYERS[: LAYERS.index(layer) + 1])
    for requirement in declared(root, LISTS[layer]):
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            version = locked.get(canonicalize_name(requirement.name))
            assert version, f"{requirement.name} is not in requirements/: run make lock"
            message = f"{requirement}, but {version} is locked: run make lock"
            assert requirement.specifier.contains(version), message


def test_everything_is_locked_with_hashes_and_no_index_is_named(root, lock):
    for layer in LAYERS:
        for name, block in lock[layer]:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), f"{name} has no hash"
        text = (root / "requirements" / f"{layer}.txt").read_text()
        assert "://" not in text
        assert "--index" not in text
        assert "--find-links" not in text


def test_what_the_locked_packages_need_is_locked_too(lock):
    """pip installs the lock without looking for more."""
    locked = pins(lock, PYTHONS[0])
    needed = set()
    for name in locked:
        try:
            needs = distribution(name).requires or ()
        except PackageNotFoundError:  # for another platform
            continue
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate(environment(PYTHONS[0], extra="")):
                needed.add((name, canonicalize_name(need.name)))
    assert {(name, need) for name, need in needed if need not in locked} == set()
