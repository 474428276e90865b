"""Lookup of a sent email by the token that its recipient holds."""

from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from .. import rendering
from ..audience.fields import subscriber_values
from ..campaigns.copied_emails import targets_of
from ..campaigns.values import SharedValues, list_names_of, values_for
from ..db import without_transaction
from ..errors import EmailError, NotFound, _
from ..i18n.footers import footer_texts
from ..ledger.resolve_in_doubt import hold_batches
from ..models import Campaign, Delivery, FrozenEmail, Sender, Subscriber, token_bytes, token_text
from ..rendering.rendered_links import other_recipients_link

UNKNOWN = _("This address is incomplete or invalid.")
DEAD_LINK = _("This link does not work.")


@dataclass(frozen=True)
class SentEmail:
    """A delivery with its campaign, sender and subscriber. ``subscriber`` is None after an erasure."""

    delivery: Delivery
    campaign: Campaign
    subscriber: Subscriber | None
    sender: Sender | None


def urls_for(public_url: str, token: bytes) -> rendering.Urls:
    """Return the URLs of the service links in the email with this token."""
    base, text = public_url.rstrip("/"), token_text(token)
    return rendering.Urls(
        unsubscribe=f"{base}/u/{text}",
        browser=f"{base}/v/{text}",
        open=f"{base}/o/{text}.gif",
        click=f"{base}/c/{text}",
    )


def find(session: Session, token: str, *, lock: bool = False) -> SentEmail:
    """Return the sent email for the 22 characters of its token. Raise ``NotFound``."""
    raw = token_bytes(token)
    query = (
        select(Delivery, Campaign, Subscriber)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .outerjoin(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .where(Delivery.token == raw)
    )
    if lock and raw:  # counts are incremented from the stored row, which a lane may be about to settle
        hold_batches(session, [raw])
        query = query.with_for_update(of=Delivery).execution_options(populate_existing=True)
    row = session.execute(query).first() if raw else None
    if row is None:
        raise NotFound(UNKNOWN)
    delivery, campaign, subscriber = row
    return SentEmail(delivery, campaign, subscriber, _sender(session, delivery, campaign))


def email_for(session: Session, found: SentEmail, public_url: str) -> rendering.Rendered:
    """Render the email as this recipient got it, for the browser: without the "view in browser" link.

    Raise ``NotFound`` when it cannot be rendered.
    """
    email = _email(session, found)
    work = partial(
        rendering.safe_render,
        email,
        recipient_values(session, found, email),
        urls=urls_for(public_url, found.delivery.token)._replace(browser=""),
        locale=found.campaign.locale,
        footer=footer_texts(found.campaign.locale),
        postal_address=found.campaign.account.postal_address,
    )
    try:
        return without_transaction(session, rendering.for_account(found.campaign.account_id, work))
    except EmailError as error:
        raise NotFound(_("This email cannot be displayed.")) from error


def link_target(session: Session, found: SentEmail, number: int, ours: str) -> str:
    """Return the target of link ``number`` in this recipient's email.

    A link of another recipient at ``ours``, the public address of the installation, becomes this recipient's
    own: a value may have brought it. Raise ``NotFound`` unless the target is http or https. If a template
    builds the URL, this ends the session's transaction: see ``db.without_transaction``.
    """
    email = _email(session, found)
    if not 1 <= number <= len(email.links):
        raise NotFound(UNKNOWN)
    target = _rendered_link(session, found, email, number)
    other = other_recipients_link(target, ours, token_text(found.delivery.token))
    if other is None:
        return target
    if other.kind == "c":
        target = _target_behind(session, found, email, target, ours)
        other = other_recipients_link(target, ours, token_text(found.delivery.token))
    if other is None:
        return target
    if other.kind in ("c", "o"):
        raise NotFound(DEAD_LINK)
    own = urls_for(ours, found.delivery.token)
    return own.unsubscribe if other.kind == "u" else own.browser


def _target_behind(
    session: Session, found: SentEmail, email: rendering.CompiledEmail, address: str, ours: str
) -> str:
    """Return the target of another recipient's counted link, for this recipient."""
    targets = targets_of(session, found.campaign.account_id, (address,), ours)
    if not targets:
        raise NotFound(DEAD_LINK)
    return _rendered_link(session, found, replace(email, links=tuple(targets.values())), 1)


def _rendered_link(session: Session, found: SentEmail, email: rendering.CompiledEmail, number: int) -> str:
    work = partial(rendering.render_link, email, number, recipient_values(session, found, email))
    try:
        if "{" not in email.links[number - 1]:
            return work()
        return without_transaction(session, rendering.for_account(found.campaign.account_id, work))
    except EmailError as error:
        raise NotFound(DEAD_LINK) from error


def recipient_values(session: Session, found: SentEmail, email: rendering.CompiledEmail) -> dict[str, object]:
    """Return the values for this recipient, from the same function that made them when the email was sent."""
    delivery, campaign, sender = found.delivery, found.campaign, found.sender
    subscriber = delivery.subscriber_id
    shared = SharedValues.of(
        campaign_name=campaign.name,
        sender_name=(sender.from_name or sender.name) if sender else "",
        sender_email=sender.from_email if sender else "",
        list_names=[each.name for each in campaign.lists],
        timezone=campaign.account.timezone,
        now=delivery.settled_at or delivery.dated_at,
    )
    own = subscriber_values(found.subscriber, email.variables) if found.subscriber else {}
    names = list_names_of(session, [each.id for each in campaign.lists], [subscriber]) if subscriber else {}
    return values_for(own, shared, names.get(subscriber) if subscriber else None)


def _sender(session: Session, delivery: Delivery, campaign: Campaign) -> Sender | None:
    if delivery.sender_id is not None:
        return session.get(Sender, delivery.sender_id)
    return campaign.senders[0] if campaign.senders else None


def _version(session: Session, found: SentEmail) -> FrozenEmail:
    """Return the version this recipient got; before a lane has recorded it, the one being sent."""
    frozen_email_id = found.delivery.frozen_email_id or found.campaign.frozen_email_id
    version = session.get(FrozenEmail, frozen_email_id) if frozen_email_id else None
    if version is None:
        raise NotFound(_("This email cannot be displayed."))
    return version


def _email(session: Session, found: SentEmail) -> rendering.CompiledEmail:
    return rendering.CompiledEmail.from_json(_version(session, found).compiled)
