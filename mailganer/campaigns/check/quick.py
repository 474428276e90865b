"""What keeps a draft from being sent, cheaply enough for every page of the draft.

The blocking problems are those of ``check``, found by the same functions. What costs more is left out: gaps
are not counted over all recipients, links and the look of the email are not read, and the sending is
simulated through only where it could be too late or have no room. Each version of an email is compiled and
rendered once in a process and then remembered.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from threading import Lock

from sqlalchemy.orm import Session

from ... import rendering
from ...accounts import day_limit
from ...audience.recipients import audience_of
from ...backends import Registry
from ...billing import plan_of
from ...db import without_transaction
from ...errors import Busy, EmailError
from ...models import Campaign, SenderStatus
from ...rendering import EmailAnalysis
from ...settings import Settings
from ..campaign_forecast import forecast, usable_sender
from ..forecast import Forecast
from ..frozen_emails import copied_targets, parts_of, texts_of, tokens_of
from ..preview import sample_recipient, shared_of
from ..values import list_names_of, variables
from ..variables import unusable_names
from .analysed_email import AnalysedEmail, compile_and_render, is_written
from .email import UNKNOWN, at_email
from .findings import CampaignStep, Check, Finding, Problem
from .recipients import at_recipients
from .schedule import at_time
from .senders import at_senders

MOST_KEPT = 1_000  # versions of emails, each with its names and at most a few problems


@dataclass(frozen=True)
class EmailFindings:
    """What a page has found out about an email, so that it is not worked out again."""

    key: str  # the ``email_key`` from before the page compiled the email
    email: AnalysedEmail = field(
        default_factory=AnalysedEmail
    )  # as the first recipient gets it, as far as it is known
    guarded: frozenset[str] | None = None  # variables that leave no gap; None where they were not read


@dataclass(frozen=True)
class EmailState:
    """What is known of one version of an email, independent of its recipients."""

    blocking: tuple[str, ...]  # codes of its problems
    variables: frozenset[str] = frozenset()
    guarded: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Readiness:
    """The codes of the blocking problems of a draft. ``email`` is None while its email could not be read."""

    email: tuple[str, ...] | None
    others: tuple[str, ...]

    @classmethod
    def of(cls, check: Check) -> "Readiness":
        return cls(
            email=tuple(each.code for each in check.blocking if each.step is CampaignStep.email),
            others=tuple(each.code for each in check.blocking if each.step is not CampaignStep.email),
        )

    @property
    def codes(self) -> tuple[str, ...]:
        return (*(self.email or ()), *self.others)


def readiness(
    session: Session,
    campaign: Campaign,
    email: EmailState | None,
    *,
    settings: Settings,
    registry: Registry,
    now: datetime,
    audience: int | None = None,
    unusable: Collection[str] | None = None,
) -> Readiness:
    """Return what keeps a draft from being sent. ``email`` is what ``email_state`` returned.

    ``audience`` and ``unusable`` (variables that no recipient has) are looked up where they are not given.
    """
    if audience is None:
        audience = audience_of(session, campaign)
    if email is not None and unusable is None:
        unusable = unusable_names(session, campaign, email.variables, email.guarded)
    expected = _expected(session, campaign, audience, settings, registry, now)
    found = (
        *at_recipients(campaign, audience),
        *at_senders(campaign, now),
        *at_time(campaign, expected, audience, settings=settings, now=now, send_at=campaign.send_at),
    )
    return Readiness(blocking_codes(email, unusable or ()), _blocking(found))


def blocking_codes(email: EmailState | None, names: Iterable[str]) -> tuple[str, ...] | None:
    """Return the codes of an email's blocking problems, given the variables that no recipient has."""
    if email is None:
        return None
    return (*email.blocking, *(UNKNOWN for name in names if name in email.variables - email.guarded))


def _blocking(found: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(each.code for each in found if isinstance(each, Problem) and each.blocking)


def _expected(
    session: Session,
    campaign: Campaign,
    audience: int,
    settings: Settings,
    registry: Registry,
    now: datetime,
) -> Forecast:
    """Simulate the sending where its time may keep it from beginning."""
    if _may_lack_time(campaign, settings, registry, now):
        return forecast(
            session,
            campaign,
            audience,
            settings=settings,
            registry=registry,
            now=now,
            send_at=campaign.send_at,
        )
    return Forecast(emails=audience, starts_at=now, finishes_at=now, days=(), pauses=())


def _may_lack_time(campaign: Campaign, settings: Settings, registry: Registry, now: datetime) -> bool:
    """Whether ``at_time`` may find that it begins too late, or that nothing may leave."""
    if campaign.not_after or campaign.hours:
        return True
    usable = [sender for sender in campaign.senders if usable_sender(sender)]
    return (
        any(sender.status is SenderStatus.sleeping for sender in usable)
        or any(day_limit(sender, registry) == 0 for sender in usable)
        or plan_of(campaign.account, settings, now).per_day == 0
    )


# --- the email


def email_state(
    session: Session,
    campaign: Campaign,
    *,
    ours: str,
    now: datetime,
    seen: EmailFindings | None = None,
) -> EmailState | None:
    """Return what is known of the email as it is saved; None when the limited process is busy.

    ``seen`` is what the page has found out already. The session's transaction may be given back: see
    ``db.without_transaction``.
    """
    if not is_written(campaign):
        return _state_of(campaign, AnalysedEmail())
    key = email_key(session, campaign, ours=ours, now=now)
    known = _kept.get(key)
    if known is not None:
        return known
    if seen is None or seen.key != key:  # the email was changed while the page compiled it
        seen = EmailFindings(key)
    try:
        email = _compile_and_render(session, campaign, seen, ours, now)
    except Busy:
        return None
    state = _state_of(campaign, email)
    # The error may be temporary, and the email or its first recipient may have changed in the meantime.
    if email.error is None and key == email_key(session, campaign, ours=ours, now=now):
        _kept.keep(key, state)
    return state


def _compile_and_render(
    session: Session, campaign: Campaign, seen: EmailFindings, ours: str, now: datetime
) -> AnalysedEmail:
    """Return the email with its ``guarded`` variables. Of its reading, nothing else blocks an email."""
    email = compile_and_render(session, campaign, seen.email, ours=ours, now=now)
    if email.compiled is None:
        return email
    if seen.guarded is not None or seen.email.error is not None:
        return replace(email, reading=EmailAnalysis(guarded=seen.guarded or frozenset()))
    html = email.shown.html if email.shown else ""
    try:
        work = partial(rendering.analyse_for_page, parts_of(campaign), html)
        analysis = without_transaction(session, rendering.for_account(campaign.account_id, work))
    except EmailError as error:
        return replace(email, error=email.error or error)
    return replace(email, reading=EmailAnalysis(guarded=analysis.guarded))


def _state_of(campaign: Campaign, email: AnalysedEmail) -> EmailState:
    return EmailState(
        blocking=_blocking(at_email(campaign, email, 0)),
        variables=frozenset(email.compiled.variables if email.compiled else ()),
        guarded=email.reading.guarded,
    )


def email_key(session: Session, campaign: Campaign, *, ours: str, now: datetime) -> str:
    """Return a digest of everything that the state of an email depends on."""
    recipient = sample_recipient(session, campaign)
    of_recipient = recipient and (
        recipient.email,
        recipient.first_name,
        recipient.last_name,
        recipient.birthday,
        sorted(recipient.fields.items()),
        list_names_of(session, [each.id for each in campaign.lists], [recipient.id]),
    )
    seen = (
        sorted(texts_of(campaign).items()),
        [each.name for each in variables(campaign.variables) if each.override],
        (ours, sorted(copied_targets(session, campaign, ours).items()), sorted(tokens_of(session, campaign))),
        (campaign.locale, campaign.account.postal_address, shared_of(campaign, now)),
        of_recipient,
    )
    return sha256(repr(seen).encode("utf-8", "surrogatepass")).hexdigest()


class _Kept:
    """The states of the emails that were looked at last."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, EmailState] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> EmailState | None:
        with self._lock:
            if key in self._states:
                self._states.move_to_end(key)
            return self._states.get(key)

    def keep(self, key: str, state: EmailState) -> None:
        with self._lock:
            self._states[key] = state
            while len(self._states) > MOST_KEPT:
                self._states.popitem(last=False)


_kept = _Kept()
