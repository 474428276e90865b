"""Serializers: database objects as JSON. Each shape is a schema of ``openapi.yaml``."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..audience import birthday_value, failure_sentence, note_sentence
from ..campaigns.values import given_variables
from ..i18n.translator import translate_sentence
from ..models import (
    Account,
    Campaign,
    Delivery,
    Import,
    Sender,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    Template,
    make_message_id,
)
from ..reports import Explanation, ExplanationStep

Shape = dict[str, Any]


def iso_time(value: datetime | None) -> str | None:
    """Format a datetime as ISO 8601 in UTC."""
    return value.astimezone(UTC).isoformat() if value else None


def _translated(sentence: str | None, account: Account) -> str | None:
    """Translate a stored sentence into the language of the account."""
    return translate_sentence(sentence, account.locale, account.timezone) if sentence else None


def sender_shape(sender: Sender, sent_last_24h: int) -> Shape:
    return {
        "id": sender.id,
        "name": sender.name,
        "from_name": sender.from_name,
        "from_email": sender.from_email,
        "backend": sender.backend,
        "settings": sender.settings,
        "limits": {
            "per_day": sender.per_day,
            "per_second": sender.per_second,
            "max_connections": sender.max_connections,
        },
        "status": sender.status.value,
        "sleeps_until": iso_time(sender.sleeps_until),
        "slowed_to": sender.slowed_to,
        "sent_last_24h": sent_last_24h,
        "error": _translated(sender.error, sender.account),
    }


def list_shape(lst: SubscriberList, counts: Mapping[SubscriberStatus, int]) -> Shape:
    return {
        "id": lst.id,
        "name": lst.name,
        "description": lst.description,
        "counts": {status.value: counts.get(status, 0) for status in SubscriberStatus},
        "created_at": iso_time(lst.created_at),
    }


def subscriber_shape(subscriber: Subscriber, list_ids: Sequence[int]) -> Shape:
    birthday = birthday_value(subscriber.birthday)
    return {
        "id": subscriber.id,
        "email": subscriber.email,
        "first_name": subscriber.first_name,
        "last_name": subscriber.last_name,
        "birthday": birthday.isoformat() if birthday else None,
        "fields": subscriber.fields,
        "status": subscriber.status.value,
        "lists": list(list_ids),
    }


def import_shape(import_: Import, account: Account) -> Shape:
    return {
        "id": import_.id,
        "list_id": import_.list_id,
        "filename": import_.filename,
        "status": import_.status.value,
        "error": _translated(failure_sentence(import_.error), account) if import_.error else None,
        "encoding": import_.encoding,
        "columns": import_.columns,
        "mapping": {
            str(column): field or "" for column, field in import_.mapping.items() if column.isdecimal()
        },
        "rows": import_.rows,
        "added": import_.added,
        "updated": import_.updated,
        "unchanged": import_.unchanged,
        "rejected": import_.rejected,
        "left": import_.notes.get("left", 0),
        "noted": sum(import_.notes.get("counts", {}).values()),
        "notes": [
            {"row": row, "code": code, "sentence": _translated(note_sentence(code, detail), account)}
            for row, code, detail in import_.notes.get("rows", [])
        ],
    }


def template_shape(template: Template, variables: Sequence[str]) -> Shape:
    return {
        "id": template.id,
        "name": template.name,
        "subject": template.subject,
        "preheader": template.preheader,
        "html": template.html,
        "text": template.text,
        "variables": sorted(variables),
    }


def campaign_shape(campaign: Campaign, counts: Shape) -> Shape:
    return {
        "id": campaign.id,
        "name": campaign.name,
        "status": campaign.status.value,
        "paused_reason": _translated(campaign.paused_reason, campaign.account),
        "subject": campaign.subject,
        "preheader": campaign.preheader,
        "html": campaign.html,
        "text": campaign.text,
        "template_id": campaign.template_id,
        "lists": [lst.id for lst in campaign.lists],
        "senders": [sender.id for sender in campaign.senders],
        "variables": given_variables(campaign.variables),
        "locale": campaign.locale,
        "track_opens": campaign.track_opens,
        "track_clicks": campaign.track_clicks,
        "send_at": iso_time(campaign.send_at),
        "not_after": iso_time(campaign.not_after),
        "hours": campaign.hours,
        "started_at": iso_time(campaign.started_at),
        "finished_at": iso_time(campaign.finished_at),
        "created_at": iso_time(campaign.created_at),
        "counts": counts,
    }


def delivery_shape(delivery: Delivery, domain: str, account: Account) -> Shape:
    return {
        "id": delivery.id,
        "email": delivery.email,
        "subscriber_id": delivery.subscriber_id,
        "status": delivery.status.value,
        "reason": delivery.reason.value if delivery.reason else None,
        "reply": _translated(delivery.reply, account),
        "message_id": f"<{make_message_id(delivery.id, delivery.token, domain)}>",
        "sent_at": iso_time(delivery.settled_at) if delivery.status in {"sent", "bounced"} else None,
        "first_opened_at": iso_time(delivery.first_opened_at),
        "opens": delivery.opens,
        "clicks": delivery.clicks,
    }


def why_shape(why: Explanation, sentences: Sequence[tuple[ExplanationStep, str]], account: Account) -> Shape:
    """Serialize an explanation. ``sentences`` are the steps with theirs."""
    return {
        "email": why.address,
        "subscriber_id": why.subscriber.id if why.subscriber else None,
        "delivery_id": why.delivery.id if why.delivery else None,
        "status": why.delivery.status.value if why.delivery else None,
        "steps": [
            {
                "at": iso_time(step.at),
                "code": step.code.value,
                "sentence": sentence,
                "details": {name: _plain(value, account) for name, value in step.details().items()},
            }
            for step, sentence in sentences
        ],
    }


def _plain(value: Any, account: Account) -> Any:
    if isinstance(value, datetime):
        return iso_time(value)
    return _translated(value, account) if isinstance(value, str) else value
