"""The whole journey with a Python client that ``openapi-python-client`` generates from our document."""

import importlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.pace import within
from tests.support.smtp import SMTPServer

from .installations import KINDS

HTML = """<p>Dear {{ first_name }} of {{ city|default("somewhere") }},
<a href="{{ unsubscribe_url }}">leave</a></p>"""
FILE = "email,first_name,city\nanna@example.org,Anna,Pskov\nboris@example.org,Boris,\nnobody,Nobody,\n"


class Generated:
    """The generated package. ``call("people.create_list", body=...)`` sends a request that has to succeed."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.client: Any = self.module("client").Client(base_url=url, raise_on_unexpected_status=True)

    def module(self, path: str) -> ModuleType:
        return importlib.import_module(f"{self.name}.{path}")

    def model(self, kind: str, /, **values: Any) -> Any:
        return getattr(self.module("models"), kind)(**values)

    def close(self) -> None:
        self.client.get_httpx_client().close()

    def sign_in(self, token: str) -> None:
        self.close()
        self.client = self.module("client").AuthenticatedClient(base_url=self.url, token=token)

    def call(self, operation: str, *given: Any, status: int = 200, **more: Any) -> Any:
        answer = self.module(f"api.{operation}").sync_detailed(*given, client=self.client, **more)
        assert answer.status_code == status, answer.content
        return answer.parsed

    def wait(self, operation: str, number: int, until: Callable[[Any], bool]) -> Any:
        began = time.monotonic()
        while not until(found := self.call(operation, number)):
            assert time.monotonic() - began < within(60), found
            time.sleep(0.2)
        return found


@pytest.fixture
def generated(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Generated]:
    """Generated from the served document, without a warning about a skipped part."""
    with urllib.request.urlopen(f"{installation.url}/api/v1/openapi.json", timeout=30) as answer:
        document = json.load(answer)
    (tmp_path / "openapi.json").write_text(json.dumps(document), "utf-8")
    (tmp_path / "config.yml").write_text("post_hooks: []\n", "utf-8")
    command = (sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none")
    files = ("--path", "openapi.json", "--config", "config.yml", "--output-path", "generated_client")
    made = subprocess.run(
        [*command, *files, "--fail-on-warning"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stdout + made.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    client = Generated(f"{installation.url}/api/v1", "generated_client")
    yield client
    client.close()
    for name in [each for each in sys.modules if each.partition(".")[0] == "generated_client"]:
        del sys.modules[name]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("installation", KINDS[:1], indirect=True)
def test_a_generated_client_does_the_whole_journey(generated: Generated, smtp_server: SMTPServer) -> None:
    api = generated
    fields = dict(smtp_server.settings)
    security = api.module("models").LoginSecurity(fields.pop("security"))
    login = api.model("Login", email="anna@example.com", backend="smtp", security=security, **fields)
    signed_in = api.call("account.login", body=login)
    api.sign_in(signed_in.token)
    assert api.call("account.get_account").email == "anna@example.com"
    (sender,) = api.call("senders.list_senders").items
    named = api.model("SenderChanges", from_name="Anna")
    assert api.call("senders.change_sender", sender.id, body=named).from_name == "Anna"

    lst = bring(api)
    (anna,) = api.call("people.search_subscribers", email="ANNA@example.org").items
    assert (anna.fields["city"], anna.lists) == ("Pskov", [lst.id])
    assert len(api.call("people.search_subscribers", q="example.org", list_=lst.id).items) == 2
    added = api.model("NewSubscriber", email="clara@example.org", first_name="Clara")
    clara = api.call("people.add_subscriber", lst.id, body=added, status=201)
    changed = api.model("SubscriberChanges", last_name="Stone")
    assert api.call("people.change_subscriber", clara.id, body=changed).last_name == "Stone"

    campaign = write(api, lst.id)
    check = api.call("campaigns.check_campaign", campaign.id)
    assert (check.ok, check.audience) == (True, 3)
    preview = api.model("PreviewCampaignBody", subscriber_id=anna.id)
    assert "Dear Anna of Pskov" in api.call("campaigns.preview_campaign", campaign.id, body=preview).html
    test = api.model("TestCampaignBody", to=["me@example.com"])
    api.call("campaigns.test_campaign", campaign.id, body=test)
    assert smtp_server.to("me@example.com")

    later = api.model("ScheduleCampaignBody", send_at=datetime.now(UTC) + timedelta(days=1))
    assert api.call("campaigns.schedule_campaign", campaign.id, body=later).status == "scheduled"
    assert api.call("campaigns.unschedule_campaign", campaign.id).status == "draft"
    api.call("campaigns.schedule_campaign", campaign.id, body=api.model("ScheduleCampaignBody", send_at=None))
    done = api.wait("campaigns.get_campaign", campaign.id, lambda found: found.status == "finished")
    assert done.counts.sent == 3
    assert {each.recipient for each in smtp_server.emails} >= {"anna@example.org", "boris@example.org"}

    deliveries = api.call("campaigns.list_deliveries", campaign.id).items
    assert [each.status for each in deliveries] == ["sent"] * 3
    report = api.call("campaigns.get_report", campaign.id)
    assert (report.sent, report.unsubscribed) == (3, 0)
    why = api.call("campaigns.explain_delivery", campaign.id, email="clara@example.org")
    assert "accepted" in [step.code for step in why.steps]
    api.call("people.erase_subscriber", clara.id, status=204)
    assert api.call("people.search_subscribers", email="clara@example.org").items == []


def bring(api: Generated) -> Any:
    """Import two subscribers from a file of three rows, in two steps."""
    lst = api.call("people.create_list", body=api.model("NewList", name="Readers"), status=201)
    file = api.module("types").File(
        payload=BytesIO(FILE.encode()), file_name="people.csv", mime_type="text/csv"
    )
    upload = api.model("StartImportBody", file=file, apply="false")
    job = api.call("people.start_import", lst.id, body=upload, status=202)
    api.wait("people.get_import", job.id, lambda found: found.status == "ready")
    api.call("people.apply_import", job.id, body=api.model("ApplyImportBody"))
    done = api.wait("people.get_import", job.id, lambda found: found.status == "done")
    assert (done.added, done.rejected) == (2, 1)
    assert "nobody" in api.call("people.get_rejects", job.id)
    return lst


def write(api: Generated, list_id: int) -> Any:
    template = api.model("NewTemplate", name="Hello", subject="News for {{ first_name }}", html=HTML)
    made = api.call("templates.create_template", body=template, status=201)
    changes = api.model(
        "CampaignChanges", name="November", lists=[list_id], subject=made.subject, html=made.html
    )
    return api.call("campaigns.create_campaign", body=changes, status=201)
