"""Lookup of a sent email by the token that its recipient holds."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import ARRAY, Text, and_, any_, bindparam, cast, func, select
from sqlalchemy.orm import Session, sessionmaker

from .. import rendering
from ..audience.fields import subscriber_values
from ..campaigns.copied_emails import targets_of
from ..campaigns.values import SharedValues, values_for
from ..db import without_transaction
from ..errors import EmailError, NotFound, _
from ..i18n.footer_loader import footer_texts
from ..ledger.array_literals import array_literal
from ..ledger.resolve_in_doubt import hold_batches
from ..models import (
    Account,
    Campaign,
    Delivery,
    FrozenEmail,
    Sender,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    campaign_list,
    campaign_sender,
    list_member,
    token_bytes,
    token_text,
)
from ..models.meta import Token
from ..rendering.own_links import OwnLink
from ..rendering.rendered_links import other_recipients_link
from .sent_versions import SentVersions, VersionKey

T = TypeVar("T")
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


def find_locked(session: Session, tokens: Collection[str]) -> dict[str, SentEmail]:
    """Return sent emails by token, locked in the order of ids; without those whose recipients were erased."""
    raw = {each: text for text in tokens if (each := token_bytes(text))}
    hold_batches(session, raw)
    rows = session.execute(
        select(Delivery, Campaign, Subscriber)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .join(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .where(Delivery.token.in_(raw))
        .order_by(Delivery.id)
        .with_for_update(of=Delivery)
        .execution_options(populate_existing=True)
    )
    return {
        raw[delivery.token]: SentEmail(delivery, campaign, subscriber, _sender(session, delivery, campaign))
        for delivery, campaign, subscriber in rows
    }


def email_for(session: Session, found: SentEmail, public_url: str) -> rendering.Rendered:
    """Render the email as this recipient got it, for the browser: without the "view in browser" link.

    Raise ``NotFound`` when it cannot be rendered.
    """
    known = read_known(session, token_text(found.delivery.token))
    email = _version(session, known)
    work = partial(
        rendering.safe_render,
        email,
        recipient_values(session, known, email),
        urls=urls_for(public_url, known.token)._replace(browser=""),
        locale=known.locale,
        footer=footer_texts(known.locale),
        postal_address=known.postal_address,
    )
    try:
        return without_transaction(session, rendering.for_account(known.account_id, work))
    except EmailError as error:
        raise NotFound(_("This email cannot be displayed.")) from error


def link_target(session: Session, found: SentEmail, number: int, ours: str) -> str:
    """Return the target of link ``number`` in this recipient's email.

    A link of another recipient at ``ours``, the public address of the installation, becomes this recipient's
    own: a value may have brought it. Raise ``NotFound`` unless the target is http or https. If a template
    builds the URL, this ends the session's transaction: see ``db.without_transaction``.
    """
    known = read_known(session, token_text(found.delivery.token))
    links = _Links(
        known, ours, read=lambda do: do(session), render=lambda work: without_transaction(session, work)
    )
    return links.target(_version(session, known), number)


def recipient_link(
    readers: sessionmaker[Session], versions: SentVersions, token: str, number: int, ours: str
) -> str:
    """Return the target of link ``number`` in the email with this token, as :func:`link_target` does.

    Reads in transactions of its own, which have ended before anything is rendered.
    """

    def read(do: Callable[[Session], T]) -> T:
        with readers() as session:
            return do(session)

    known = read(lambda session: read_known(session, token))
    version = versions.get(known.version) if known.version else None
    if version is None:
        raise NotFound(UNKNOWN)
    if 1 <= number <= len(version.targets) and (target := version.targets[number - 1]):
        return target
    return _Links(known, ours, read=read, render=lambda work: work()).target(version.email, number)


class _Read(Protocol):
    def __call__(self, do: Callable[[Session], T], /) -> T: ...


@dataclass(frozen=True)
class _Links:
    """Targets of the links in one recipient's email. ``render`` calls what may not run in a transaction."""

    known: "KnownEmail"
    ours: str
    read: _Read
    render: Callable[[Callable[[], str]], str]

    def target(self, email: rendering.CompiledEmail, number: int) -> str:
        target = self._rendered(email, number)
        other = self._others(target)
        if other is not None and other.kind == "c":
            target = self._rendered(self._behind(email, target), 1)
            other = self._others(target)
        if other is None:
            return target
        if other.kind in ("c", "o"):
            raise NotFound(DEAD_LINK)
        own = urls_for(self.ours, self.known.token)
        return own.unsubscribe if other.kind == "u" else own.browser

    def _others(self, target: str) -> OwnLink | None:
        return other_recipients_link(target, self.ours, token_text(self.known.token))

    def _behind(self, email: rendering.CompiledEmail, address: str) -> rendering.CompiledEmail:
        """Return the email with the target of another recipient's counted link as its only link."""
        targets = self.read(lambda session: targets_of(session, self.known.account_id, (address,), self.ours))
        if not targets:
            raise NotFound(DEAD_LINK)
        return replace(email, links=tuple(targets.values()))

    def _rendered(self, email: rendering.CompiledEmail, number: int) -> str:
        if not 1 <= number <= len(email.links):
            raise NotFound(UNKNOWN)
        try:
            if "{" not in email.links[number - 1]:
                return rendering.render_link(email, number, {})
            values = self.read(lambda session: recipient_values(session, self.known, email))
            work = partial(rendering.render_link, email, number, values)
            return self.render(rendering.for_account(self.known.account_id, work))
        except EmailError as error:
            raise NotFound(DEAD_LINK) from error


@dataclass(frozen=True, slots=True)
class KnownEmail:
    """What a page for a recipient needs of a sent email, read by one statement."""

    token: bytes
    version_id: int | None
    frozen_at: datetime | None
    subscriber_id: int | None
    dated_at: datetime
    settled_at: datetime | None
    unsubscribed_at: datetime | None
    campaign_id: int
    campaign_name: str
    locale: str
    account_id: int
    timezone: str
    postal_address: str
    # The subscriber; None after an erasure.
    email: str | None
    first_name: str | None
    last_name: str | None
    birthday: Any
    fields: Mapping[str, Any] | None
    status: SubscriberStatus | None
    created_at: datetime | None
    # The sender; None after it was deleted.
    sender_own_name: str | None
    sender_from_name: str | None
    sender_from_email: str | None

    @property
    def version(self) -> VersionKey | None:
        return (self.version_id, self.frozen_at) if self.version_id and self.frozen_at else None


def read_known(session: Session, token: str) -> KnownEmail:
    """Return the sent email for the 22 characters of its token. Raise ``NotFound``."""
    raw = token_bytes(token)
    known = look(session, [raw])[0] if raw else None
    if known is None:
        raise NotFound(UNKNOWN)
    return known


def look(session: Session, tokens: Sequence[bytes]) -> list[KnownEmail | None]:
    """Return the sent emails with these tokens, in the same order; None for an unknown one."""
    if session.get_bind().dialect.name == "postgresql":
        wanted = array_literal(f'"\\\\x{each.hex()}"' for each in tokens)
        rows = session.execute(_READ_BY_ARRAY, {"tokens": wanted})
    else:
        rows = session.execute(_READ_BY_LIST, {"tokens": list(tokens)})
    found = {row[0]: KnownEmail(*tuple(row)) for row in rows}
    return [found.get(each) for each in tokens]


def recipient_values(
    session: Session, known: KnownEmail, email: rendering.CompiledEmail
) -> dict[str, object]:
    """Return the values for this recipient, from the same function that made them when the email was sent."""
    names = _list_names(session, known) if _names_lists(email) else _ListNames((), None)
    shared = SharedValues.of(
        campaign_name=known.campaign_name,
        sender_name=known.sender_from_name or known.sender_own_name or "",
        sender_email=known.sender_from_email or "",
        list_names=names.all,
        timezone=known.timezone,
        now=known.settled_at or known.dated_at,
    )
    own = subscriber_values(known, email.variables) if known.fields is not None else {}
    return values_for(own, shared, names.own)


class _ListNames(NamedTuple):
    all: Sequence[str]  # of the campaign's lists
    own: str | None  # of the first of them that the recipient is on


def _names_lists(email: rendering.CompiledEmail) -> bool:
    return bool(email.fills) or any(name.partition(".")[0] == "list" for name in email.variables)


def _list_names(session: Session, known: KnownEmail) -> _ListNames:
    rows = session.execute(
        _LIST_NAMES, {"campaign_id": known.campaign_id, "subscriber_id": known.subscriber_id}
    ).all()
    return _ListNames([name for name, _own in rows], next((name for name, own in rows if own), None))


def _sender(session: Session, delivery: Delivery, campaign: Campaign) -> Sender | None:
    if delivery.sender_id is not None:
        return session.get(Sender, delivery.sender_id)
    return campaign.senders[0] if campaign.senders else None


def _version(session: Session, known: KnownEmail) -> rendering.CompiledEmail:
    """Return the version this recipient got; before a lane has recorded it, the one being sent."""
    compiled = session.scalar(select(FrozenEmail.compiled).where(FrozenEmail.id == known.version_id))
    if compiled is None:
        raise NotFound(_("This email cannot be displayed."))
    return rendering.CompiledEmail.from_json(compiled)


_VERSION_ID = func.coalesce(Delivery.frozen_email_id, Campaign.frozen_email_id)
_FIRST_SENDER = (
    select(campaign_sender.c.sender_id)
    .where(campaign_sender.c.campaign_id == Campaign.id)
    .order_by(campaign_sender.c.position)
    .limit(1)
    .scalar_subquery()
)
_READ = (
    select(
        Delivery.token,
        _VERSION_ID,
        FrozenEmail.created_at,
        Delivery.subscriber_id,
        Delivery.dated_at,
        Delivery.settled_at,
        Delivery.unsubscribed_at,
        Campaign.id,
        Campaign.name,
        Campaign.locale,
        Campaign.account_id,
        Account.timezone,
        Account.postal_address,
        Subscriber.email,
        Subscriber.first_name,
        Subscriber.last_name,
        Subscriber.birthday,
        Subscriber.fields,
        Subscriber.status,
        Subscriber.created_at,
        Sender.name,
        Sender.from_name,
        Sender.from_email,
    )
    .join(Campaign, Campaign.id == Delivery.campaign_id)
    .join(Account, Account.id == Campaign.account_id)
    .outerjoin(FrozenEmail, FrozenEmail.id == _VERSION_ID)
    .outerjoin(Subscriber, Subscriber.id == Delivery.subscriber_id)
    .outerjoin(Sender, Sender.id == func.coalesce(Delivery.sender_id, _FIRST_SENDER))
)
_READ_BY_ARRAY = _READ.where(Delivery.token == any_(cast(bindparam("tokens", type_=Text), ARRAY(Token))))
_READ_BY_LIST = _READ.where(Delivery.token.in_(bindparam("tokens", expanding=True)))
_LIST_NAMES = (
    select(SubscriberList.name, list_member.c.subscriber_id.is_not(None))
    .join(campaign_list, campaign_list.c.list_id == SubscriberList.id)
    .outerjoin(
        list_member,
        and_(
            list_member.c.list_id == SubscriberList.id,
            list_member.c.subscriber_id == bindparam("subscriber_id"),
        ),
    )
    .where(campaign_list.c.campaign_id == bindparam("campaign_id"))
    .order_by(SubscriberList.name, SubscriberList.id)
)
