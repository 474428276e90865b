"""Send one campaign without an installation: the same plan, ledger and lane, over a state file.

The state is an SQLite database with one account, one list, one sender and one campaign. Running the same
campaign with the same state again continues where it stopped, however it stopped.
"""

import fcntl
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ..accounts import sender_limits
from ..audience.imports import (
    FileProblem,
    apply_import,
    note_sentence,
    reject_sentence,
    run_import,
    start_import,
)
from ..audience.imports.reasons import ENCODING_GUESSED
from ..audience.recipients import audience_of
from ..backends import Backend, Registry, split_settings
from ..campaigns import state_changes
from ..campaigns.check import Check, Severity
from ..campaigns.counts import Counts, campaign_counts
from ..campaigns.frozen_emails import compile_to_send, keep
from ..campaigns.names import host_of_ids
from ..campaigns.preview import sample_reader
from ..db import make_engine, utcnow
from ..errors import Conflict, MailganerError, _
from ..i18n.sentences import translate_sentence
from ..ledger import Recipient
from ..migrations import current, migrate, newest
from ..models import (
    Account,
    Batch,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Import,
    ImportReject,
    ImportStatus,
    Sender,
    SenderStatus,
    SubscriberList,
    first_delivery_id,
)
from ..reports.reasons import delivery_sentence
from ..settings import Plan, Settings
from . import in_doubt
from .context import SendingContext
from .scheduler.plan import plan
from .scheduler.tick import tick
from .worker.delivery_renderer import DeliveryRenderer, RenderJob
from .worker.lane import LaneRunner
from .worker.receipt_outcomes import WindowResult

SHOWN_REJECTS = 50
NO_PUBLIC_URL = "public_url"  # a standalone campaign has no links of its own
SECRET = "a mailing keeps no secrets in its state"  # noqa: S105 - passwords stay in memory; nothing is signed


class BadRows(MailganerError):
    """Rows of the list that cannot be used: ``rows`` are (number, sentence), ``total`` counts all of them."""

    def __init__(self, rows: list[tuple[int, str]], total: int) -> None:
        super().__init__(
            _(
                "Rows of the list that cannot be used: ${number}. Correct them, or leave them out with "
                "--skip-bad-rows.",
                mapping={"number": total},
            )
        )
        self.rows = rows
        self.total = total


@dataclass(frozen=True)
class StandaloneRequest:
    """What to send, to whom, and from which address."""

    from_name: str
    from_email: str
    subject: str
    html: str
    text: str
    people: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    skip_bad_rows: bool = False

    @cached_property
    def digest(self) -> str:
        """A digest that identifies the campaign; any change to its emails or recipients changes it."""
        words = [
            self.from_name,
            self.from_email,
            self.subject,
            self.html,
            self.text,
            sorted(self.variables.items()),
        ]
        digest = hashlib.sha256(json.dumps(words).encode())
        with self.people.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()


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
    """A campaign over its state file, created by :func:`open_standalone_campaign`."""

    def __init__(
        self, engine: Engine, folder: Path, order: StandaloneRequest, backend: Backend, registry: Registry
    ) -> None:
        self._order, self._backend, self._registry = order, backend, registry
        self._settings = Settings(
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

    # --- before the first email

    def prepare(self, send_at: datetime | None, warn: Callable[[str], None] = lambda _sentence: None) -> None:
        """Import the list and schedule the campaign, unless that is done already.

        ``warn`` is called with each warning of the check. Raise what is wrong with the list or the email;
        nothing has been sent then.
        """
        with self._context.sessions() as session:
            known = session.scalar(select(SubscriberList.description))
            campaign = session.scalar(select(Campaign))
        if campaign is not None:
            if known != self._order.digest:
                raise Conflict(
                    _(
                        "The state file belongs to another mailing: its email, its list or its sender "
                        "differ. Choose another one with --state."
                    )
                )
            if campaign.status is not CampaignStatus.draft:
                self._retry_after_stop()
                return
        else:
            self._gather(warn)
        self._schedule(send_at, warn)

    def _gather(self, warn: Callable[[str], None]) -> None:
        now = utcnow()
        with self._context.sessions.begin() as session:
            account, lst = self._people(session, now)
            with self._order.people.open("rb") as stream:
                job = start_import(
                    session,
                    account,
                    lst,
                    filename=self._order.people.name,
                    stream=stream,
                    apply=False,
                    uploads=self._settings.uploads,
                    now=now,
                )
        run_import(self._context.sessions, self._settings, job.id)
        with self._context.sessions.begin() as session:
            job = session.get_one(Import, job.id)
            self._check_rows(session, job)
            if ENCODING_GUESSED in job.notes.get("counts", {}):
                warn(translate_sentence(note_sentence(ENCODING_GUESSED, job.encoding)))
            apply_import(session, job)
        run_import(self._context.sessions, self._settings, job.id)
        with self._context.sessions.begin() as session:
            self._draft(session, session.get_one(Account, account.id), now)

    def _people(self, session: Session, now: datetime) -> tuple[Account, SubscriberList]:
        order = self._order
        account = Account(email=order.from_email, plan="free", created_at=now)
        session.add(account)
        session.flush()
        lst = SubscriberList(
            account_id=account.id, name=order.people.stem[:200], description=order.digest, created_at=now
        )
        session.add(lst)
        session.flush()
        return account, lst

    def _check_rows(self, session: Session, job: Import) -> None:
        if job.status is ImportStatus.failed:
            raise FileProblem(*(job.error or "binary").split(":", 1)) if job.error else FileProblem("binary")
        if job.rejected and not self._order.skip_bad_rows:
            rows = session.scalars(
                select(ImportReject)
                .where(ImportReject.import_id == job.id)
                .order_by(ImportReject.row)
                .limit(SHOWN_REJECTS)
            )
            raise BadRows(
                [(each.row, translate_sentence(reject_sentence(each.code, each.detail))) for each in rows],
                job.rejected,
            )

    def _draft(self, session: Session, account: Account, now: datetime) -> None:
        order = self._order
        sender = Sender(
            account_id=account.id,
            name=order.from_name or order.from_email,
            from_name=order.from_name,
            from_email=order.from_email,
            backend=self._backend.name,
            settings=split_settings(self._backend.settings)[0],  # without the password: it stays in memory
            created_at=now,
            verified_at=now,
        )
        campaign = Campaign(
            account_id=account.id,
            name=order.people.stem[:200],
            subject=order.subject,
            html=order.html,
            text=order.text,
            variables={name: {"value": value, "override": False} for name, value in order.variables.items()},
            created_at=now,
            updated_at=now,
        )
        campaign.lists.append(session.scalars(select(SubscriberList)).one())
        campaign.senders.append(sender)
        session.add_all([sender, campaign])

    def _schedule(self, send_at: datetime | None, warn: Callable[[str], None]) -> None:
        def tell(found: Check) -> None:
            for problem in found.problems:
                if problem.severity is Severity.warning and problem.code != NO_PUBLIC_URL:
                    warn(translate_sentence(problem.message))

        with self._context.sessions() as session:  # no transaction is open while the email is compiled
            state_changes.schedule(
                session,
                session.scalars(select(Campaign)).one(),
                send_at,
                utcnow(),
                settings=self._settings,
                registry=self._registry,
                tell=tell,
            )
            session.commit()

    def _retry_after_stop(self) -> None:
        """Apply the current settings and retry: the cause of the last stop may be fixed."""
        now = utcnow()
        with self._context.sessions() as session:  # as above
            sender = session.scalars(select(Sender)).one()
            sender.settings = split_settings(self._backend.settings)[0]
            if sender.status is SenderStatus.failing or sender.failures:
                sender.status, sender.failures, sender.error, sender.sleeps_until = (
                    SenderStatus.ready,
                    0,
                    None,
                    None,
                )
            campaign = session.scalars(select(Campaign)).one()
            if campaign.status is CampaignStatus.paused:
                state_changes.resume(session, campaign, now)
            session.commit()

    # --- sending

    def sample(self) -> tuple[int, str, bytes]:
        """Return the number of recipients, the address of the first, and exactly the message they would get.

        It is made as in a lane, in a transaction that is rolled back. Only ``Message-ID`` and ``Date`` differ
        when it is sent, because both are fixed when a delivery is planned.
        """
        now = utcnow()
        with self._context.sessions() as session:
            campaign = session.scalars(select(Campaign)).one()
            sender = session.scalars(select(Sender)).one()
            reader = sample_reader(session, campaign)
            if reader is None:
                raise Conflict(_("There is nobody in the chosen lists who gets emails."))
            email = compile_to_send(campaign, self._context.public_url)  # first, as it ends the transaction
            campaign.message_domain = host_of_ids(self._context.public_url, sender.from_email)
            version = keep(session, campaign, email, now)
            session.flush()
            job = RenderJob.read(
                session,
                frozen_email_id=version.id,
                sender=sender,
                public_url=self._context.public_url,
                now=now,
            )
            people = audience_of(session, campaign)
            recipient = Recipient(
                id=first_delivery_id(campaign.id),
                subscriber_id=reader.id,
                address=reader.email,
                token=secrets.token_bytes(16),
                dated_at=now,
                attempts=0,
                first_tried_at=None,
                status=reader.status,
                email=reader.email,
                first_name=reader.first_name,
                last_name=reader.last_name,
                birthday=reader.birthday,
                fields=reader.fields,
            )
            session.rollback()
        renderer = DeliveryRenderer(job, self._context.public_url)
        with self._context.readers() as session:
            names = renderer.list_names(session, [recipient])
        message = renderer.render(recipient, names.get(recipient.subscriber_id or 0))
        return people, recipient.address, message

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


@contextmanager
def open_standalone_campaign(
    state: Path, order: StandaloneRequest, backend: Backend, registry: Registry
) -> Iterator[StandaloneCampaign]:
    """Open the campaign of a state file, creating the file if it does not exist.

    Raise ``Conflict`` while another process uses it.
    """
    folder = state_folder(state)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                _("Another mailganer send works with ${state} right now.", mapping={"state": str(state)})
            ) from error
        engine = make_engine(f"sqlite:///{state}")
        try:
            if current(engine) != newest():
                migrate(engine)
            _delete_incomplete_start(engine)
            yield StandaloneCampaign(engine, folder, order, backend, registry)
        finally:
            engine.dispose()


def _delete_incomplete_start(engine: Engine) -> None:
    """Delete the account when a run was killed before it created a campaign: nothing was sent by it."""
    with Session(engine) as session:
        if session.scalar(select(Campaign.id)) is None:
            for account in session.scalars(select(Account)):
                session.delete(account)
            session.commit()


def state_folder(state: Path) -> Path:
    """Return the directory beside a state file that holds journals and the copied list."""
    return state.with_name(state.name + ".d")


def remove_state(state: Path) -> None:
    """Delete a campaign's state file and its directory."""
    for path in (state, *(state.with_name(state.name + end) for end in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)
    shutil.rmtree(state_folder(state), ignore_errors=True)
