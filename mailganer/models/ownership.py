"""Rows of an account, loaded by id: another account's row is not found."""

from collections.abc import Iterable
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..errors import NotFound
from .account import ApiToken
from .audience import Import, Subscriber, SubscriberList
from .campaign import Campaign
from .sender import Sender
from .template import Template

OwnedModel = TypeVar("OwnedModel", ApiToken, Campaign, Import, Sender, Subscriber, SubscriberList, Template)


def owned(
    session: Session, model: type[OwnedModel], account_id: int, row_id: int, *, lock: bool = False
) -> OwnedModel:
    """Return the row with this id in this account. Raise ``NotFound``, also for a deleted sender.

    With ``lock``, reload the row and lock it until the transaction ends, for a caller that ended its previous
    transaction: verifying a sender may take half a minute, and its account may be closed in the meantime.
    """
    row = session.get(
        model, row_id, with_for_update={"key_share": True} if lock else None, populate_existing=lock
    )
    if row is None or row.account_id != account_id or _is_deleted(row):
        raise NotFound()
    return row


def owned_rows(
    session: Session, model: type[OwnedModel], account_id: int, row_ids: Iterable[int]
) -> list[OwnedModel]:
    """Return the rows with these ids in this account, in order and each once. Raise ``NotFound``."""
    wanted = list(dict.fromkeys(row_ids))
    rows = session.scalars(select(model).where(model.account_id == account_id, model.id.in_(wanted)))
    by_id = {row.id: row for row in rows if not _is_deleted(row)}
    if len(by_id) != len(wanted):
        raise NotFound()
    return [by_id[row_id] for row_id in wanted]


def _is_deleted(row: object) -> bool:
    return getattr(row, "deleted_at", None) is not None
