"""A standalone campaign: prepare it, send it step by step, show its progress."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, func, select

from ...accounts import sender_limits
from ...backends import Backend, Registry
from ...campaigns.counts import Counts, campaign_counts
from ...db import utcnow
from ...i18n.translator import translate_sentence
from ...models import Batch, Campaign, CampaignStatus, Delivery, DeliveryStatus, Sender, SenderStatus
from ...reports.reasons import delivery_sentence
from ...settings import Plan, Settings
from .. import in_doubt
from ..context import SendingContext
from ..scheduler.plan import plan
from ..scheduler.tick import tick
from ..worker.lane import LaneRunner
from ..worker.receipt_outcomes import WindowResult
from .preparation import Preparation
from .sample_message import sample_message
from .standalone_request import StandaloneRequest

SECRET = "a mailing keeps no secrets in its state"  # noqa: S105 - passwords stay in memory; nothing is signed


@dataclass(frozen=True)
class StandaloneProgress:
    """Progress of a campaign; ``waits_until`` and ``trouble`` give the reason when nothing happens now."""

    status: CampaignStatus
    counts: Counts
    waits_until: datetime | None = None
    trouble: str = ""
    stopped: str = ""  # why it cannot continue at all

    @property
    def finished(self) -> bool:
        return self.status is CampaignStatus.finished


class StandaloneCampaign:
    """A campaign over its state file, created by :func:`.open_standalone_campaign`."""

    def __init__(
        self, engine: Engine, folder: Path, request: StandaloneRequest, backend: Backend, registry: Registry
    ) -> None:
        settings = Settings(
            database_url=engine.url.render_as_string(hide_password=False),
            public_url="",
            secret_keys=(SECRET,),
            data_dir=folder,
            backends=registry.names,
            allow_private_smtp_hosts=True,
            plans=(Plan("free", "", None, None),),
        )
        self._context = SendingContext(
            engine=engine,
            journals=folder / "journals",
            open_backend=lambda sender: backend,
            limits=lambda sender: sender_limits(sender, registry),
            plan_limit=lambda account, now: None,
            now=utcnow,
        )
        self._preparation = Preparation(self._context, settings, request, backend, registry)

    def prepare(self, send_at: datetime | None, warn: Callable[[str], None] = lambda _sentence: None) -> None:
        """Import the list and schedule the campaign, unless that is done already.

        ``warn`` is called with each warning of the check. Raise what is wrong with the list or the email;
        nothing has been sent then.
        """
        self._preparation.prepare(send_at, warn)

    def sample(self) -> tuple[int, str, bytes]:
        """Return the number of recipients, the first address, and exactly the message they would get."""
        return sample_message(self._context)

    def step(self, stopped: Callable[[], bool], progress: Callable[[WindowResult], None]) -> bool:
        """Do what scheduler and worker would do next; return whether anything changed."""
        moved = 0
        for call in tick(self._context):
            if stopped():
                break
            if call.task == "plan":
                moved += plan(self._context, call.ids[0], stopped)
            elif call.task == "run_lane" and call.ids[1] == 0:
                lane = LaneRunner(self._context, *call.ids, stopped=stopped, progress=progress)
                moved += lane.run(30).settled
            elif call.task == "look_up":
                moved += in_doubt.look_up(self._context, *call.ids)
        return bool(moved)

    def progress(self) -> StandaloneProgress:
        with self._context.readers() as session:
            campaign = session.scalars(select(Campaign)).one()
            sender = session.scalars(select(Sender)).one()
            counts = campaign_counts(session, [campaign.id])[campaign.id]
            due = session.scalar(select(func.min(Batch.not_before)).where(Batch.pending > 0))
        if campaign.status is CampaignStatus.paused:
            return StandaloneProgress(
                campaign.status, counts, stopped=translate_sentence(campaign.paused_reason or "")
            )
        if sender.status is SenderStatus.failing:
            return StandaloneProgress(campaign.status, counts, stopped=translate_sentence(sender.error or ""))
        waits = (
            campaign.send_at if campaign.status is CampaignStatus.scheduled else sender.sleeps_until or due
        )
        return StandaloneProgress(campaign.status, counts, waits, translate_sentence(sender.error or ""))

    def unsettled(self) -> Iterator[tuple[str, str, str]]:
        """Yield who did not get the email, or perhaps not: address, status, the server's reply."""
        wanted = (DeliveryStatus.failed, DeliveryStatus.in_doubt, DeliveryStatus.skipped)
        with self._context.readers() as session:
            for row in session.scalars(
                select(Delivery).where(Delivery.status.in_(wanted)).order_by(Delivery.status, Delivery.id)
            ):
                yield (
                    row.email,
                    row.status.value,
                    f"{translate_sentence(delivery_sentence(row.reason))} "
                    f"{translate_sentence(row.reply or '')}",
                )
