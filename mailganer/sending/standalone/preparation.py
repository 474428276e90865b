"""Prepare a standalone campaign: import its list, create its draft, schedule it."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...audience.imports import (
    FileProblem,
    apply_import,
    note_sentence,
    reject_sentence,
    run_import,
    start_import,
)
from ...audience.imports.reasons import ENCODING_GUESSED
from ...backends import Backend, Registry, split_settings
from ...campaigns import state_changes
from ...campaigns.check import Check, Severity
from ...db import utcnow
from ...errors import Conflict, MailganerError, _
from ...i18n.translator import translate_sentence
from ...models import (
    Account,
    Campaign,
    CampaignStatus,
    Import,
    ImportReject,
    ImportStatus,
    Sender,
    SenderStatus,
    SubscriberList,
)
from ...settings import Settings
from ..context import SendingContext
from .standalone_request import StandaloneRequest

SHOWN_REJECTS = 50
NO_PUBLIC_URL = "public_url"  # a standalone campaign has no links of its own


class BadRows(MailganerError):
    """Rows of the list that cannot be used: ``rows`` are (number, sentence), ``total`` counts all of them."""

    def __init__(self, rows: list[tuple[int, str]], total: int) -> None:
        super().__init__(
            _(
                "Invalid rows in the list: ${number}. Correct them, or skip them with --skip-bad-rows.",
                mapping={"number": total},
            )
        )
        self.rows = rows
        self.total = total


class Preparation:
    """Everything before the first email of a standalone campaign."""

    def __init__(
        self,
        context: SendingContext,
        settings: Settings,
        request: StandaloneRequest,
        backend: Backend,
        registry: Registry,
    ) -> None:
        self._context, self._settings = context, settings
        self._request, self._backend, self._registry = request, backend, registry

    def prepare(self, send_at: datetime | None, warn: Callable[[str], None] = lambda _sentence: None) -> None:
        """Import the list and schedule the campaign, unless that is done already.

        ``warn`` is called with each warning of the check. Raise what is wrong with the list or the email;
        nothing has been sent then.
        """
        with self._context.sessions() as session:
            known = session.scalar(select(SubscriberList.description))
            campaign = session.scalar(select(Campaign))
        if campaign is not None:
            if known != self._request.digest:
                raise Conflict(
                    _(
                        "The state file belongs to another campaign with a different email, list or sender. "
                        "Choose another file with --state."
                    )
                )
            if campaign.status is not CampaignStatus.draft:
                self._retry_after_stop()
                return
        else:
            self._import_list(warn)
        self._schedule(send_at, warn)

    def _import_list(self, warn: Callable[[str], None]) -> None:
        now = utcnow()
        with self._context.sessions.begin() as session:
            account, lst = self._create_list(session, now)
            with self._request.recipients_file.open("rb") as stream:
                job = start_import(
                    session,
                    account,
                    lst,
                    filename=self._request.recipients_file.name,
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
            self._create_draft(session, session.get_one(Account, account.id), now)

    def _create_list(self, session: Session, now: datetime) -> tuple[Account, SubscriberList]:
        request = self._request
        account = Account(email=request.from_email, plan="free", created_at=now)
        session.add(account)
        session.flush()
        lst = SubscriberList(
            account_id=account.id,
            name=request.recipients_file.stem[:200],
            description=request.digest,
            created_at=now,
        )
        session.add(lst)
        session.flush()
        return account, lst

    def _check_rows(self, session: Session, job: Import) -> None:
        if job.status is ImportStatus.failed:
            raise FileProblem(*(job.error or "binary").split(":", 1)) if job.error else FileProblem("binary")
        if job.rejected and not self._request.skip_bad_rows:
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

    def _create_draft(self, session: Session, account: Account, now: datetime) -> None:
        request = self._request
        sender = Sender(
            account_id=account.id,
            name=request.from_name or request.from_email,
            from_name=request.from_name,
            from_email=request.from_email,
            backend=self._backend.name,
            settings=split_settings(self._backend.settings)[0],  # without the password: it stays in memory
            created_at=now,
            verified_at=now,
        )
        campaign = Campaign(
            account_id=account.id,
            name=request.recipients_file.stem[:200],
            subject=request.subject,
            html=request.html,
            text=request.text,
            variables={
                name: {"value": value, "override": False} for name, value in request.variables.items()
            },
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
