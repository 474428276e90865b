"""Render deliveries to MIME bytes: one renderer per campaign, email version and sender."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ... import rendering
from ...audience.fields import subscriber_values
from ...campaigns.names import host_of_ids
from ...campaigns.values import CampaignValues, SharedValues, list_names_of
from ...i18n.footer_loader import footer_texts
from ...ledger import Recipient
from ...models import Account, Campaign, FrozenEmail, Sender, SubscriberList, campaign_list, make_message_id
from ...tracking import urls_for


@dataclass(frozen=True)
class ListNames:
    """The lists a campaign goes to: the source of ``list.name`` and ``List-Id``."""

    ids: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class RenderJob:
    """What a renderer needs, read from the database, so that creating the renderer needs no database."""

    email: rendering.CompiledEmail
    envelope: rendering.Envelope
    lists: ListNames
    shared: SharedValues
    domain: str

    @classmethod
    def read(
        cls, session: Session, *, frozen_email_id: int, sender: Sender, public_url: str, now: datetime
    ) -> "RenderJob":
        version = session.get_one(FrozenEmail, frozen_email_id)
        campaign = session.get_one(Campaign, version.campaign_id)
        account = session.get_one(Account, campaign.account_id)
        lists = _lists(session, campaign.id)
        shared = SharedValues.of(
            campaign_name=campaign.name,
            sender_name=sender.from_name or sender.name,
            sender_email=sender.from_email,
            list_names=lists.names,
            timezone=account.timezone,
            now=now,
        )
        email = rendering.CompiledEmail.from_json(version.compiled)
        envelope = _envelope(campaign, account, sender, lists, public_url)
        return cls(email, envelope, lists, shared, campaign.message_domain)


class DeliveryRenderer:
    """Render a campaign's email for one recipient after another. Not thread-safe."""

    def __init__(self, job: RenderJob, public_url: str) -> None:
        """Compile the email, outside of any transaction. Raise ``EmailError``."""
        self._names = job.email.variables
        self.lists = job.lists
        self.names_lists = len(self.lists.ids) > 1 and "list.name" in self._names
        self._renderer = rendering.MessageRenderer(job.email, job.envelope)
        self._values = CampaignValues(job.shared)
        self._base = public_url.rstrip("/")
        self._leave = f"mailto:{job.envelope.from_email}?subject=unsubscribe"
        self._domain = job.domain

    def list_names(self, session: Session, items: Iterable[Recipient]) -> Mapping[int, str]:
        """Return each recipient's list by subscriber id, if the email uses ``list.name``."""
        if not self.names_lists:
            return {}
        subscriber_ids = [item.subscriber_id for item in items if item.subscriber_id]
        return list_names_of(session, self.lists.ids, subscriber_ids)

    def render(self, item: Recipient, list_name: str | None = None) -> bytes:
        """The whole message for one recipient. Raises ``EmailError`` for this one only."""
        message_id = make_message_id(item.id, item.token, self._domain)
        return self._renderer.render(
            rendering.RecipientHeaders(
                email=item.address,
                name=f"{item.first_name} {item.last_name}".strip(),
                values=self._values.of(subscriber_values(item, self._names), list_name),
                urls=self._urls(item.token),
                message_id=f"<{message_id}>",
                date=item.dated_at,
            )
        )

    def _urls(self, token: bytes) -> rendering.Urls:
        if not self._base:
            return rendering.Urls(unsubscribe=self._leave, browser="", open="", click="")
        return urls_for(self._base, token)


def _lists(session: Session, campaign_id: int) -> ListNames:
    rows = session.execute(
        select(SubscriberList.id, SubscriberList.name)
        .join(campaign_list, campaign_list.c.list_id == SubscriberList.id)
        .where(campaign_list.c.campaign_id == campaign_id)
        .order_by(SubscriberList.name, SubscriberList.id)
    ).all()
    return ListNames(tuple(row.id for row in rows), tuple(row.name for row in rows))


def _envelope(
    campaign: Campaign, account: Account, sender: Sender, lists: ListNames, public_url: str
) -> rendering.Envelope:
    host = host_of_ids(public_url, sender.from_email)
    return rendering.Envelope(
        from_name=sender.from_name,
        from_email=sender.from_email,
        # Numbers, not names, so that filters still match after a list is renamed.
        list_id=f"list-{lists.ids[0]}.account-{account.id}.{host}" if lists.ids else "",
        list_name=lists.names[0] if lists.names else "",
        locale=campaign.locale,
        footer=footer_texts(campaign.locale),
        track_opens=campaign.track_opens and bool(public_url),
        track_clicks=campaign.track_clicks and bool(public_url),
        one_click=bool(public_url),
        postal_address=account.postal_address,
    )
