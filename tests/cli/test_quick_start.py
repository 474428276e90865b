"""Work that the second start of a demo skips before its first page."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mailganer
from mailganer.cli import serve
from mailganer.cli.processes import Part
from mailganer.migrations import newest

LOADED = """
import json, sys
from mailganer.cli import serve
from mailganer.cli.common import read_settings
serve._has_newest_schema(read_settings(sys.argv[1]))
print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))
"""


class Tree:
    """Records what is run and started. The web part responds or dies."""

    stopping = False

    def __init__(self, dies: bool = False, code: int = 0) -> None:
        self.steps: list[str] = []
        self.code = code
        self._dies = dies

    def listen(self) -> None:
        pass

    stop = look_after = listen

    def run(self, part: Part) -> int:
        self.steps.append(f"run {part.name}")
        return self.code

    def start(self, part: Part) -> None:
        self.steps.append(part.name)

    def deaths(self, name: str) -> int:
        return int(self._dies)

    def wait(self, ready: Any, hopeless: Callable[[], bool], timeout: float) -> bool:
        return not hopeless()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """``start(tree, demo=..., newest=...)``: the exit code, and the started parts in order."""

    def start(tree: Tree, *, demo: bool, newest: bool) -> tuple[int, list[str]]:
        monkeypatch.setattr(serve, "_has_newest_schema", lambda settings: newest)
        monkeypatch.setattr(serve, "check_free", lambda *_: None)
        settings: Any = SimpleNamespace(
            demo=demo, data_dir=tmp_path, embedded=False, listen="127.0.0.1:1", catcher="127.0.0.1:2",
            outbox=tmp_path,
        )  # fmt: skip
        installation = serve._Installation(settings)
        installation.tree = tree  # type: ignore[assignment]
        return installation.run(), tree.steps

    return start


def test_a_demo_with_the_newest_schema_starts_its_web_part_at_once(start: Any) -> None:
    assert start(Tree(), demo=True, newest=True) == (0, ["web", "catcher", "worker", "beat"])


@pytest.mark.parametrize(("demo", "newest"), [(True, False), (False, True), (False, False)])
def test_everything_else_is_migrated_and_checked_first(start: Any, demo: bool, newest: bool) -> None:
    code, steps = start(Tree(), demo=demo, newest=newest)
    assert (code, steps[:2]) == (0, ["run migration", "web"])


def test_a_web_part_that_dies_is_checked_and_its_reason_is_the_exit_code(start: Any) -> None:
    assert start(Tree(dies=True, code=2), demo=True, newest=True) == (2, ["web", "run migration"])


def test_a_newest_schema_is_recognised_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "mailganer.sqlite"
    settings: Any = SimpleNamespace(database_url=f"sqlite:///{path}")
    seen = [serve._has_newest_schema(settings)]
    assert not path.exists()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        for revision in ("0001", newest()):
            connection.execute("DELETE FROM alembic_version")
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
            connection.commit()
            seen.append(serve._has_newest_schema(settings))
    path.write_text("no database at all")
    seen.append(serve._has_newest_schema(settings))
    settings.database_url = "postgresql+psycopg://mailganer@localhost/mailganer"
    seen.append(serve._has_newest_schema(settings))
    assert seen == [False, False, True, False, False]


def test_the_parent_loads_no_database_and_no_web(ini_values: Any, tmp_path: Path) -> None:
    ini = tmp_path / "test.ini"
    values = {**ini_values, "sqlalchemy.url": f"sqlite:///{tmp_path / 'none.sqlite'}"}
    ini.write_text("[app:main]\n" + "\n".join(f"{key} = {value}" for key, value in values.items()))
    heavy = ("sqlalchemy", "structlog", "pyramid", "celery", "pydantic")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(ini), *heavy], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


def test_an_application_does_not_validate_its_document_again(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("validated")

    monkeypatch.setattr("pyramid_openapi3.validate", refuse)
    mailganer.configure(settings).make_wsgi_app()
