"""The message that the first recipient of a standalone campaign would get, without sending it."""

import secrets

from sqlalchemy import select

from ...audience.recipients import audience_of
from ...campaigns.frozen_emails import compile_to_send, store_frozen_email
from ...campaigns.names import host_of_ids
from ...campaigns.preview import sample_recipient
from ...db import utcnow
from ...errors import Conflict, _
from ...ledger import Recipient
from ...models import Campaign, Sender, first_delivery_id
from ..context import SendingContext
from ..worker.delivery_renderer import DeliveryRenderer, RenderJob


def sample_message(context: SendingContext) -> tuple[int, str, bytes]:
    """Return the number of recipients, the address of the first, and exactly the message they would get.

    It is made as in a lane, in a transaction that is rolled back. Only ``Message-ID`` and ``Date`` differ
    when it is sent, because both are fixed when a delivery is planned.
    """
    now = utcnow()
    with context.sessions() as session:
        campaign = session.scalars(select(Campaign)).one()
        sender = session.scalars(select(Sender)).one()
        subscriber = sample_recipient(session, campaign)
        if subscriber is None:
            raise Conflict(_("The selected lists have no subscribers who can get emails."))
        email = compile_to_send(campaign, context.public_url)  # first, as it ends the transaction
        campaign.message_domain = host_of_ids(context.public_url, sender.from_email)
        version = store_frozen_email(session, campaign, email, now)
        session.flush()
        job = RenderJob.read(
            session,
            frozen_email_id=version.id,
            sender=sender,
            public_url=context.public_url,
            now=now,
        )
        recipients = audience_of(session, campaign)
        recipient = Recipient(
            id=first_delivery_id(campaign.id),
            subscriber_id=subscriber.id,
            address=subscriber.email,
            token=secrets.token_bytes(16),
            dated_at=now,
            attempts=0,
            first_tried_at=None,
            status=subscriber.status,
            email=subscriber.email,
            first_name=subscriber.first_name,
            last_name=subscriber.last_name,
            birthday=subscriber.birthday,
            fields=subscriber.fields,
        )
        session.rollback()
    renderer = DeliveryRenderer(job, context.public_url)
    with context.readers() as session:
        names = renderer.list_names(session, [recipient])
    message = renderer.render(recipient, names.get(recipient.subscriber_id or 0))
    return recipients, recipient.address, message
