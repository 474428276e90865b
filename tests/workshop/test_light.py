"""Processes that send import nothing that only pages or migrations need."""

import subprocess
import sys

LOADED = """
import sys
from importlib import import_module
import mailganer.cli.parts, mailganer.worker
for module in mailganer.worker.TASK_MODULES:
    import_module(module)
print(*sorted({"pyramid", "webob", "zope", "pkg_resources", "alembic"} & set(sys.modules)))
"""


def test_a_worker_loads_neither_pyramid_nor_alembic() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
