"""Test emails: the campaign's email sent to a few own addresses through the real sender."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from time import monotonic

from sqlalchemy.orm import Session

from .. import rendering
from ..accounts import day_limit, sender_backend
from ..audience.addresses import AddressError, parse_address
from ..backends import Backend, Message, Receipt, Registry
from ..billing import plan_of
from ..db import without_transaction
from ..errors import Conflict, InputError, LimitReached, _
from ..i18n.footer_loader import footer_texts
from ..models import Campaign, Sender, SenderStatus, Subscriber
from ..quota.plan_and_sender_usage import QuotaUsage, account_quota, sender_quota
from ..quota.reservations import lock, reserve
from ..settings import Settings
from ..vault import Vault
from .frozen_emails import compile_to_send
from .names import host_of_ids
from .preview import recipient_values

MOST_ADDRESSES = 10  # a test goes to the user and a few colleagues; more is a campaign


@dataclass(frozen=True)
class PreparedTest:
    """Rendered and counted test emails, ready to be sent. Needs no database."""

    backend: Backend
    messages: tuple[Message, ...]

    def send(self) -> tuple[Receipt, ...]:
        """Send the emails. Return a receipt for each address that was handled before the connection ended.

        Raise ``BackendError`` when there is no connection.
        """
        with self.backend.connect() as connection:
            return tuple(connection.send_many(self.messages))


def prepare_test(
    session: Session,
    campaign: Campaign,
    to: Iterable[str],
    *,
    settings: Settings,
    registry: Registry,
    vault: Vault,
    now: datetime,
    recipient: Subscriber | None = None,
) -> PreparedTest:
    """Render the email for ``recipient`` once per address of ``to``, and take the emails from the quota.

    They are rendered while the session has no transaction (``db.without_transaction``), and counted in a new
    one. Commit that before ``PreparedTest.send``: a mail server may take half a minute. Raise ``InputError``,
    ``Conflict`` without a sender, ``EmailError``, ``LimitReached``.
    """
    addresses = _addresses(to)
    sender = _sender(campaign, now)
    email = compile_to_send(campaign, settings.public_url)
    envelope = _envelope(campaign, sender, settings)
    values = recipient_values(session, campaign, email, recipient, now=now)
    copies = [_copy(address, values, sender, settings, now) for address in addresses]
    work = partial(_printed, email, envelope, copies)
    contents = without_transaction(session, rendering.for_account(campaign.account_id, work))
    sender = _sender(campaign, now)  # its current state
    _take(session, campaign, sender, len(addresses), settings, registry, now)
    messages = tuple(
        Message(id=address, sender=envelope.from_email, recipient=address, content=content)
        for address, content in zip(addresses, contents, strict=True)
    )
    return PreparedTest(sender_backend(sender, registry, vault), messages)


def _printed(
    email: rendering.CompiledEmail,
    envelope: rendering.Envelope,
    copies: Sequence[rendering.RecipientHeaders],
) -> list[bytes]:
    """Print all copies in about the time of one: they are the same email, and a page waits for them."""
    with rendering.render_permit():
        renderer, until, contents = (
            rendering.MessageRenderer(email, envelope),
            monotonic() + rendering.SECONDS,
            [],
        )
        for copy in copies:
            if monotonic() > until:
                raise rendering.too_slow()
            contents.append(renderer.render(copy))
        return contents


def _addresses(to: Iterable[str]) -> Sequence[str]:
    found = {}
    for text in to:
        try:
            address = parse_address(text)
        except AddressError as error:
            raise InputError({"to": next(iter(error.fields.values()))}) from None
        found[address.key] = address.email
    if not found:
        raise InputError({"to": _("Enter an address for the test email.")})
    if len(found) > MOST_ADDRESSES:
        raise InputError({"to": _("A test email can be sent to at most ten addresses.")})
    return tuple(found.values())


def _sender(campaign: Campaign, now: datetime) -> Sender:
    senders = [sender for sender in campaign.senders if sender.deleted_at is None]
    if not senders:
        raise Conflict(_("Select a sender first."))
    sender = next((each for each in senders if each.status is SenderStatus.ready), senders[0])
    if sender.status is SenderStatus.sleeping and sender.sleeps_until and sender.sleeps_until > now:
        raise LimitReached(
            _("${address} is waiting and resumes automatically.", mapping={"address": sender.from_email}),
            counter="sender",
            frees_at=sender.sleeps_until,
        )
    return sender


def _take(
    session: Session,
    campaign: Campaign,
    sender: Sender,
    number: int,
    settings: Settings,
    registry: Registry,
    now: datetime,
) -> None:
    """Count the emails like any others: mail providers do, and lanes share the plan."""
    session.flush()
    plan_limit = plan_of(campaign.account, settings, now).per_day
    lock(session, sender.id, campaign.account_id, sender=True, plan=plan_limit is not None)
    session.refresh(sender)
    own = sender_quota(session, sender.id, day_limit(sender, registry), now)
    plan = account_quota(session, campaign.account_id, plan_limit, now)
    _require(
        own,
        number,
        "sender",
        _("${address} has reached its limit for 24 hours.", mapping={"address": sender.from_email}),
    )
    _require(plan, number, "per_day", _("The limit of your plan for 24 hours is reached."))
    reserve(session, sender.id, campaign.account_id, number, now)


def _require(quota: QuotaUsage, number: int, counter: str, message: str) -> None:
    if quota.remaining is not None and quota.remaining < number:
        raise LimitReached(message, counter=counter, frees_at=quota.frees_at)


def _envelope(campaign: Campaign, sender: Sender, settings: Settings) -> rendering.Envelope:
    return rendering.Envelope(
        from_name=sender.from_name,
        from_email=sender.from_email,
        list_id=f"test.{campaign.account_id}.{host_of_ids(settings.public_url, sender.from_email)}",
        list_name=campaign.lists[0].name if campaign.lists else "",
        locale=campaign.locale,
        footer=footer_texts(campaign.locale),
        # Opens and clicks of test emails are not counted: links lead directly to their targets.
        track_opens=False,
        track_clicks=False,
        postal_address=campaign.account.postal_address,
    )


def _copy(
    address: str, values: dict[str, object], sender: Sender, settings: Settings, now: datetime
) -> rendering.RecipientHeaders:
    nowhere = f"{settings.public_url}/u/test"  # a page for links that belong to no recipient
    return rendering.RecipientHeaders(
        email=address,
        name="",
        values=values,
        urls=rendering.Urls(unsubscribe=nowhere, browser=nowhere, open="", click=""),
        message_id=f"<test.{secrets.token_hex(12)}@{host_of_ids(settings.public_url, sender.from_email)}>",
        date=now,
    )
