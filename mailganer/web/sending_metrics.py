"""Metrics of emails and senders for ``/metrics``. Labels contain ids, never addresses."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailganer.accounts import sender_limits
from mailganer.backends import Registry
from mailganer.errors import MailganerError
from mailganer.models import Batch, CampaignCounter, Sender
from mailganer.quota.plan_and_sender_usage import recent_usage

SETTLED = ("sent", "failed", "in_doubt", "skipped", "bounced")
RATE_OVER = 5  # minutes


class SendingMetrics(Collector):
    """Emails by result, opens and clicks, and the rate and quota of each sender.

    Values are sums over batches and campaign counters: a few rows per thousand emails. Deleting a campaign
    removes its emails, which Prometheus reads as a counter reset.
    """

    def __init__(self, session: Session, registry: Registry, now: datetime) -> None:
        self._session, self._registry, self._now = session, registry, now

    def collect(self) -> Iterator[Metric]:
        yield self._emails()
        yield from self._activity()
        yield from self._senders()

    def _emails(self) -> CounterMetricFamily:
        family = CounterMetricFamily(
            "mailganer_emails", "Emails of all campaigns by what became of them.", labels=["result"]
        )
        sums = [func.coalesce(func.sum(getattr(Batch, name)), 0) for name in SETTLED]
        for name, number in zip(SETTLED, self._session.execute(select(*sums)).one(), strict=True):
            family.add_metric([name], int(number))
        return family

    def _activity(self) -> Iterator[CounterMetricFamily]:
        columns = (
            CampaignCounter.opens,
            CampaignCounter.machine_opens,
            CampaignCounter.clicks,
            CampaignCounter.machine_clicks,
            CampaignCounter.unsubscribed,
        )
        row = self._session.execute(select(*(func.coalesce(func.sum(each), 0) for each in columns))).one()
        opens, machine_opens, clicks, machine_clicks, unsubscribed = map(int, row)
        for name, text, people, machines in (
            ("mailganer_opens", "Opened emails.", opens, machine_opens),
            ("mailganer_clicks", "Clicked links.", clicks, machine_clicks),
        ):
            family = CounterMetricFamily(name, text, labels=["by"])
            family.add_metric(["person"], people)
            family.add_metric(["machine"], machines)
            yield family
        yield CounterMetricFamily("mailganer_unsubscribed", "Recipients who left.", value=unsubscribed)

    def _senders(self) -> Iterator[GaugeMetricFamily]:
        used = GaugeMetricFamily(
            "mailganer_sender_emails_24h", "Emails in the last 24 hours.", labels=["sender"]
        )
        quota = GaugeMetricFamily(
            "mailganer_sender_quota_24h", "Emails allowed in 24 hours.", labels=["sender"]
        )
        rate = GaugeMetricFamily(
            "mailganer_sender_emails_per_minute", f"Mean of the last {RATE_OVER} minutes.", labels=["sender"]
        )
        senders = self._session.scalars(select(Sender).where(Sender.deleted_at.is_(None)).order_by(Sender.id))
        usage = recent_usage(self._session, self._now, RATE_OVER)
        for sender in senders:
            name, (day, lately) = [str(sender.id)], usage.get(sender.id, (0, 0))
            used.add_metric(name, day)
            rate.add_metric(name, lately / RATE_OVER)
            if (limit := self._limit(sender)) is not None:
                quota.add_metric(name, limit)
        yield from (used, quota, rate)

    def _limit(self, sender: Sender) -> int | None:
        try:
            return sender_limits(sender, self._registry).per_day
        except MailganerError:
            return None  # its backend is not installed
