"""Preview: an email as one of its recipients would get it."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, Select, case, func, literal
from sqlalchemy.orm import Session, object_session

from .. import rendering
from ..audience.fields import STANDARD, is_filled, subscriber_values, text_of
from ..audience.recipients import recipients
from ..db import without_transaction
from ..errors import EmailError
from ..i18n.footer_loader import footer_texts
from ..models import Campaign, Subscriber
from .frozen_emails import compile_of, source_of
from .values import SharedValues, list_names_of, values_for
from .variables import is_field


def preview(
    session: Session,
    campaign: Campaign,
    subscriber: Subscriber | None,
    *,
    now: datetime,
    email: rendering.CompiledEmail | None = None,
    ours: str = "",
) -> rendering.Rendered:
    """Render the email for ``subscriber``, or without any values for None. Raise ``EmailError``.

    Its own links (unsubscribe, browser, pixel) lead nowhere; the others work. ``ours`` is the public address
    of the installation, for an email that has to be compiled. The session's transaction is ended: see
    ``db.without_transaction``.
    """
    email = email or compile_of(campaign, ours)
    work = partial(
        rendering.safe_render,
        email,
        recipient_values(session, campaign, email, subscriber, now=now),
        locale=campaign.locale,
        footer=footer_texts(campaign.locale),
        postal_address=campaign.account.postal_address,
    )
    return without_transaction(session, rendering.for_account(campaign.account_id, work))


def recipient_values(
    session: Session,
    campaign: Campaign,
    email: rendering.CompiledEmail,
    subscriber: Subscriber | None,
    *,
    now: datetime,
) -> dict[str, object]:
    """Return the values for ``subscriber``: the same that a delivery will have."""
    own_values = subscriber_values(subscriber, email.variables) if subscriber else dict.fromkeys(STANDARD, "")
    names = (
        list_names_of(session, [each.id for each in campaign.lists], [subscriber.id]) if subscriber else {}
    )
    return values_for(own_values, shared_of(campaign, now), names.get(subscriber.id) if subscriber else None)


def shared_of(campaign: Campaign, now: datetime) -> SharedValues:
    """Return the values common to all recipients of a campaign, for its first sender."""
    sender = next((each for each in campaign.senders if each.deleted_at is None), None)
    return SharedValues.of(
        campaign_name=campaign.name,
        sender_name=(sender.from_name or sender.name) if sender else "",
        sender_email=sender.from_email if sender else "",
        list_names=[each.name for each in campaign.lists],
        timezone=campaign.account.timezone,
        now=now,
    )


def sample_recipient(session: Session, campaign: Campaign, after: int = 0) -> Subscriber | None:
    """Return the first recipient with an id above ``after``; the very first again after the last."""
    ids = _recipient_ids(campaign)
    found = session.scalar(ids.where(Subscriber.id > after).limit(1))
    if found is None and after:
        found = session.scalar(ids.limit(1))
    return session.get(Subscriber, found) if found is not None else None


def previous_recipient(session: Session, campaign: Campaign, before: int) -> Subscriber | None:
    """Return the recipient before this id; the very last before the first."""
    ids = _recipient_ids(campaign).order_by(None).order_by(Subscriber.id.desc())
    found = session.scalar(ids.where(Subscriber.id < before).limit(1)) or session.scalar(ids.limit(1))
    return session.get(Subscriber, found) if found is not None else None


def hardest_recipient(session: Session, campaign: Campaign) -> Subscriber | None:
    """Return the recipient hardest to render: most variables empty, then the longest values."""
    names = _fields_used(campaign)
    if not names:
        return sample_recipient(session, campaign)
    gaps: ColumnElement[int] = literal(0)
    lengths: ColumnElement[int] = literal(0)
    for name in names:
        gaps = gaps + case((is_filled(name), 0), else_=1)
        if name != "birthday":
            lengths = lengths + func.length(text_of(name))
    found = session.scalar(
        _recipient_ids(campaign).order_by(None).order_by(gaps.desc(), lengths.desc(), Subscriber.id).limit(1)
    )
    return session.get(Subscriber, found) if found is not None else None


def recipient_page(session: Session, campaign: Campaign, subscriber_id: int) -> Subscriber | None:
    """Return a subscriber of the account, on the chosen lists or not: any of them may be previewed."""
    subscriber = session.get(Subscriber, subscriber_id)
    return subscriber if subscriber and subscriber.account_id == campaign.account_id else None


def _recipient_ids(campaign: Campaign) -> Select[tuple[int]]:
    list_ids = [each.id for each in campaign.lists]
    return recipients(campaign.account_id, list_ids).with_only_columns(Subscriber.id)


def _fields_used(campaign: Campaign) -> Sequence[str]:
    try:
        work = partial(rendering.variables_of, source_of(campaign))
        names = without_transaction(
            object_session(campaign), rendering.for_account(campaign.account_id, work)
        )
    except EmailError:
        return ()
    return sorted(name for name in names if is_field(name))
