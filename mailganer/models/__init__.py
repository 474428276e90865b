"""What is stored: one module per subject, nothing but tables and their legal moves."""

from . import holds, moves
from .account import Account, ApiToken, Identity
from .audience import (
    Import,
    ImportChange,
    ImportReject,
    ImportStatus,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    Suppression,
    list_member,
)
from .billing import Voucher
from .campaign import UNDER_WAY, Campaign, CampaignStatus, LetterVersion, campaign_list, campaign_sender
from .delivery import (
    LARGEST_CAMPAIGN,
    WHY_NO_LETTER,
    Batch,
    BatchState,
    Delivery,
    DeliveryStatus,
    Departure,
    HeldBy,
    Hold,
    Lane,
    Reason,
    Window,
    first_delivery_id,
    make_message_id,
    token_bytes,
    token_text,
)
from .meta import Base, metadata
from .operations import Answer, Heartbeat, Tries
from .sender import Sender, SenderStatus, Usage
from .template import Template
from .tracking import TALLY_SHARDS, Event, EventKind, Source, Tally

__all__ = [
    "LARGEST_CAMPAIGN",
    "TALLY_SHARDS",
    "UNDER_WAY",
    "WHY_NO_LETTER",
    "Account",
    "Answer",
    "ApiToken",
    "Base",
    "Batch",
    "BatchState",
    "Campaign",
    "CampaignStatus",
    "Delivery",
    "DeliveryStatus",
    "Departure",
    "Event",
    "EventKind",
    "Heartbeat",
    "HeldBy",
    "Hold",
    "Identity",
    "Import",
    "ImportChange",
    "ImportReject",
    "ImportStatus",
    "Lane",
    "LetterVersion",
    "Reason",
    "Sender",
    "SenderStatus",
    "Source",
    "Subscriber",
    "SubscriberList",
    "SubscriberStatus",
    "Suppression",
    "Tally",
    "Template",
    "Tries",
    "Usage",
    "Voucher",
    "Window",
    "campaign_list",
    "campaign_sender",
    "first_delivery_id",
    "holds",
    "list_member",
    "make_message_id",
    "metadata",
    "moves",
    "token_bytes",
    "token_text",
]
