"""Deletion of expired rows: sessions, rate limit counts and responses of the API."""

from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from ..db import UNTRACKED
from ..models import IdempotentResponse, RateLimitCount, WebSession
from ..periodic_jobs import Tick, periodic_job
from .web_sessions import LONGEST_SESSION

__all__ = ["delete_expired_rows"]

ANSWERED_FOR = timedelta(days=1)  # how long the API keeps its response to an Idempotency-Key
EVERY = timedelta(seconds=20)


@periodic_job("delete_expired_rows", EVERY)
def _delete(tick: Tick) -> None:
    delete_expired_rows(tick.session, tick.now)


def delete_expired_rows(session: Session, now: datetime) -> None:
    """Delete expired API responses, rate limit counts and web sessions."""
    for old in (
        delete(IdempotentResponse).where(IdempotentResponse.created_at < now - ANSWERED_FOR),
        delete(RateLimitCount).where(RateLimitCount.ends_at < now.timestamp()),
        delete(WebSession).where(WebSession.created_at < now - LONGEST_SESSION),
    ):
        session.execute(old, execution_options=UNTRACKED)
