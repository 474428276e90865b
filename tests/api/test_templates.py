"""Templates by API."""

from typing import Any

import pytest

from mailganer.rendering import render_process

from ..fixtures.api import Client

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_template_is_read_for_its_variables_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    ask = render_process.ask

    def counting(task: str, **question: Any) -> Any:
        asked.append(task)
        return ask(task, **question)

    monkeypatch.setattr(render_process, "ask", counting)
    made = client.post("templates", {"name": "News", "html": "<p>{{ city }} {{ first_name }}</p>"}).json
    broken = client.post("templates", {"name": "Half", "html": "<p>{{ city </p>"}).json
    assert (made["variables"], broken["variables"]) == (["city", "first_name"], [])
    before = len(asked)
    for _ in range(3):
        assert client.get("templates?limit=500").json["items"] == [broken, made]
    assert len(asked) == before
    changed = client.patch(f"templates/{made['id']}", {"html": "<p>{{ town }}</p>"}).json
    assert changed["variables"] == ["town"]
