"""The metrics of emails and senders, and those used by the dashboard and the alert rules."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from mailganer.db import utcnow
from mailganer.models import Batch, CampaignCounter, CampaignStatus, Usage

from ..support.factories import Factory


def metrics(app: Any) -> dict[str, float]:
    lines = app.get("/metrics", status=200).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}


def test_emails_are_counted_by_what_became_of_them_in_finished_campaigns_too(
    app: Any, session: Session, make: Factory, account: Any
) -> None:
    for status in (CampaignStatus.sending, CampaignStatus.finished):
        campaign = make.campaign(account, status=status)
        batch = Batch(campaign_id=campaign.id, number=1, first_id=1, last_id=20)
        batch.sent, batch.failed, batch.in_doubt, batch.bounced = 3, 2, 1, 4
        session.add(batch)
        session.add(
            CampaignCounter(
                campaign_id=campaign.id, shard=0, opens=5, machine_opens=1, clicks=2, unsubscribed=1
            )
        )
    session.commit()
    found = metrics(app)
    assert found['mailganer_emails_total{result="sent"}'] == 6
    assert found['mailganer_emails_total{result="failed"}'] == 4
    assert found['mailganer_emails_total{result="in_doubt"}'] == 2
    assert found['mailganer_emails_total{result="bounced"}'] == 8
    assert found['mailganer_opens_total{by="person"}'] == 10
    assert found['mailganer_opens_total{by="machine"}'] == 2
    assert found['mailganer_clicks_total{by="person"}'] == 4
    assert found["mailganer_unsubscribed_total"] == 2


def test_a_sender_shows_its_rate_and_quota_by_its_id_alone(
    app: Any, session: Session, make: Factory, account: Any
) -> None:
    sender = make.sender(account, per_day=500)
    for ago, emails in ((timedelta(minutes=1), 10), (timedelta(hours=3), 7), (timedelta(hours=25), 90)):
        minute = int((utcnow() - ago).timestamp()) // 60
        session.add(Usage(sender_id=sender.id, account_id=account.id, minute=minute, emails=emails))
    session.commit()
    found = metrics(app)
    label = f'{{sender="{sender.id}"}}'
    assert found["mailganer_sender_emails_24h" + label] == 17
    assert found["mailganer_sender_quota_24h" + label] == 500
    assert found["mailganer_sender_emails_per_minute" + label] == 2
    assert "@" not in app.get("/metrics").text


def test_dashboard_and_alerts_ask_for_metrics_that_are_there(
    app: Any, session: Session, make: Factory, account: Any
) -> None:
    make.sender(account, per_day=500)
    make.campaign(account)
    session.commit()
    app.get("/healthz")
    given = set(re.findall(r"^# TYPE (mailganer_\w+)", app.get("/metrics").text, re.MULTILINE))
    folder = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
    dashboard = json.loads((folder / "grafana-dashboard.json").read_text())
    wanted = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    names = set(re.findall(r"mailganer_\w+", " ".join(wanted) + (folder / "alerts.yml").read_text()))
    of_beat = {"mailganer_tick_age_seconds", "mailganer_silence_seconds"}
    assert {name.removesuffix("_bucket") for name in names} - given - of_beat == set()
    assert (
        set(re.findall(r"`(mailganer_\w+)`", (folder / "README.md").read_text())) - given - of_beat == set()
    )
