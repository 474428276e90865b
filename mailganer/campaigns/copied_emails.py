"""Original targets of tracked links in an email that was copied from a sent one."""

import re
from collections.abc import Iterable, Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Campaign, Delivery, FrozenEmail, token_bytes, token_text
from ..rendering import CompiledEmail
from ..rendering.copied_links import CopiedClick, clicks_in, key_of
from ..rendering.own_links import tokens_in
from ..rendering.placeholders import mask

MOST_TOKENS = 50  # an email is copied from one other; the check reports further ones
_AT_ONCE = 500  # tokens per query
_DEEPEST = 5  # copies of copies that are followed


def targets_of(session: Session, account_id: int, texts: Iterable[str], ours: str) -> Mapping[str, str]:
    """Return the targets of tracked links in an account's sources, as ``rendering.compile_email`` takes them.

    A link built from values is resolved only for the account whose email it is, and only if none of the
    values was a variable of that campaign alone: no other email has these.
    """
    found: dict[str, str] = {}
    wanted = {click: click for click in clicks_in(texts, ours)} if ours else {}
    for _depth in range(_DEEPEST):
        if not wanted:
            break
        behind = _behind(session, account_id, wanted.values())
        following: dict[CopiedClick, CopiedClick] = {}
        for first, click in wanted.items():
            address = behind.get(click, "")
            further = clicks_in((address,), ours)
            if further:
                following[first] = next(iter(further))
            elif address:
                found[key_of(first)] = address
        wanted = following
    return found


def known_tokens(session: Session, texts: Iterable[str]) -> frozenset[str]:
    """Return the recipient tokens, of any account, anywhere in the texts, in any spelling."""
    possible = sorted({raw for token in tokens_in(texts) if (raw := token_bytes(token))})
    return frozenset(
        token_text(token)
        for start in range(0, len(possible), _AT_ONCE)
        for token in session.scalars(
            select(Delivery.token).where(Delivery.token.in_(possible[start : start + _AT_ONCE]))
        )
    )


def _behind(session: Session, account_id: int, clicks: Iterable[CopiedClick]) -> Mapping[CopiedClick, str]:
    clicks = sorted(clicks)
    tokens = sorted({click.token for click in clicks})[:MOST_TOKENS]
    kept = _emails(session, [raw for token in tokens if (raw := token_bytes(token))])
    found = {}
    for click in clicks:
        owner, email = kept.get(click.token, (None, None))
        if email is not None and 1 <= click.number <= len(email.links):
            address = email.links[click.number - 1]
            if _can_be_given(address, email, own=owner == account_id):
                found[click] = address
    return found


def _emails(session: Session, tokens: list[bytes]) -> Mapping[str, tuple[int, CompiledEmail]]:
    """Return the account that sent the email, and the email, by token."""
    rows = session.execute(
        select(Delivery.token, Campaign.account_id, FrozenEmail.compiled)
        .join(Campaign, Campaign.id == Delivery.campaign_id)
        .join(
            FrozenEmail, FrozenEmail.id == func.coalesce(Delivery.frozen_email_id, Campaign.frozen_email_id)
        )
        .where(Delivery.token.in_(tokens))
    )
    return {token_text(token): (owner, CompiledEmail.from_json(compiled)) for token, owner, compiled in rows}


def _can_be_given(address: str, email: CompiledEmail, *, own: bool) -> bool:
    code = " ".join(mask(address).codes)
    names = (name for name, _template, _wins in email.fills)
    return not code or (own and not any(re.search(rf"\b{re.escape(name)}\b", code) for name in names))
