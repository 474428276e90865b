"""Each kind of process imports only what it needs: imports are most of its start, and half of its memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = {"pyramid", "webob", "zope", "pkg_resources", "pyramid_jinja2", "wtforms", "openapi_core", "limits"}
DATABASE = {"sqlalchemy", "alembic", "psycopg", "mailganer.models", "mailganer.db"}
SENDING = {"mailganer.sending", "mailganer.rendering", "mailganer.backends", "mailganer.audience"}

KINDS = {
    "help": (
        "import mailganer.cli",
        PAGES | DATABASE | SENDING | {"celery", "http.client", "mailganer.settings"},
    ),
    "serve": ("import mailganer.cli.serve, mailganer.settings", PAGES | DATABASE | SENDING | {"celery"}),
    "beat": (
        "import mailganer.cli.parts, celery.bin.beat, celery.apps.beat, mailganer.worker as it\n"
        "it.app.loader.import_default_modules()",
        PAGES
        | DATABASE
        | SENDING
        | {"cryptography", "pydantic", "email_validator", "babel.dates", "http.client"},
    ),
    "worker": (
        "import mailganer.cli.parts, celery.bin.worker, celery.apps.worker, mailganer.worker_events\n"
        "from importlib import import_module\n"
        "for each in mailganer.worker.TASK_MODULES: import_module(each)",
        PAGES | {"alembic", "mailganer.web", "mailganer.views", "mailganer.api", "http.client"},
    ),
    "web": (
        "import os, mailganer, mailganer.settings\n"
        "mailganer.configure(mailganer.settings.load(os.environ['MAILGANER_INI']))",
        {"alembic", "mailganer.worker", "mailganer.sending.worker.lane", "mailganer.cli", "mailganer.drill"},
    ),
}
"""Kind of process -> what it imports until it works, and modules that must not be among that."""

LAZY_TABLES = """
from babel import localedata
from mailganer.audience.imports import encoding_repair
from mailganer.i18n import footer_loader, languages
assert languages.is_language("ru") and footer_loader.footer_texts("ru") != footer_loader.footer_texts("en")
print(len(localedata._cache), encoding_repair._disguises.cache_info().currsize)
"""


INI = """
[app:main]
sqlalchemy.url = sqlite:///light.sqlite
mailganer.secret_key = 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
mailganer.public_url = http://localhost
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_imports_nothing_that_only_another_kind_needs(kind: str, tmp_path: Path) -> None:
    imports, unneeded = KINDS[kind]
    assert unneeded & set(_run(f"{imports}\nimport sys\nprint(*sys.modules)", tmp_path)) == set()


def test_a_worker_reads_no_cldr_data_and_no_tables_of_encodings_before_it_needs_them(tmp_path: Path) -> None:
    imports, _unneeded = KINDS["worker"]
    assert _run(imports + LAZY_TABLES, tmp_path) == ["0", "0"]


def _run(program: str, folder: Path) -> list[str]:
    ini = folder / "light.ini"
    ini.write_text(INI)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "MAILGANER_INI": str(ini)},
        cwd=folder,
    )
    return done.stdout.split()
