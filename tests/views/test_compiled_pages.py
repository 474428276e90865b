"""Templates of pages are compiled once per process, although they include each other."""

from typing import Any

import pytest
from pyramid_jinja2 import IJinja2Environment


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_template_is_compiled_once_whichever_templates_include_it(anna: Any) -> None:
    environment = anna.app.registry.getUtility(IJinja2Environment, name=".jinja2")
    for path in ("/campaigns", "/subscribers", "/lists", "/senders", "/settings"):
        anna.get(path)
    names = [name for _loader, name in environment.cache]
    assert [name for name in names if "macros" in name] == ["macros.jinja2"]
    assert [name for name in names if "layout.jinja2" in name] == ["layout.jinja2"]
