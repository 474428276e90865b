"""Frozen emails: compiled versions of a campaign's email, made at the start and after each edit."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, object_session

from .. import rendering
from ..db import without_transaction
from ..errors import EmailError, _
from ..models import Campaign, FrozenEmail, Template
from ..rendering.copied_links import clicks_in, key_of
from ..rendering.own_links import hidden_in, tokens_in
from ..rendering.placeholders import SLOT
from .copied_emails import known_tokens, targets_of
from .values import variables


def parts_of(written: Campaign | Template) -> dict[str, str]:
    """Return the source of an email by its parts."""
    return {part: getattr(written, part) for part in rendering.PARTS}


def texts_of(campaign: Campaign) -> dict[str, str]:
    """Return all texts that may contain template code: the parts, and the campaign's variables by name."""
    own = {f"variables.{each.name}": each.value for each in variables(campaign.variables)}
    return parts_of(campaign) | own


def source_of(written: Campaign | Template) -> rendering.Source:
    """Return the four templates of an email."""
    return rendering.Source(**parts_of(written))


def copied_targets(session: Session, campaign: Campaign, ours: str) -> Mapping[str, str]:
    """Return the targets of links copied from emails sent before (``copied_emails.targets_of``)."""
    return targets_of(session, campaign.account_id, _written(campaign), ours)


def unknown_clicks(
    campaign: Campaign, ours: str, targets: Mapping[str, str], tokens: Collection[str] = ()
) -> tuple[str, ...]:
    """Return such links that lead nowhere, because their token no longer exists."""
    keys = {key_of(each): each for each in clicks_in(_written(campaign), ours) if each.token not in tokens}
    return tuple(f"{ours}/c/{key}" for key in sorted(keys) if key not in targets)


def _written(campaign: Campaign) -> tuple[str, ...]:
    return (*parts_of(campaign).values(), *(each.value for each in variables(campaign.variables)))


def tokens_of(session: Session, campaign: Campaign) -> frozenset[str]:
    """Return the tokens of recipients of other emails that occur in the source."""
    return known_tokens(session, _written(campaign))


def tokens_of_text(session: Session, email: rendering.CompiledEmail) -> frozenset[str]:
    """Return such tokens in the text part: one made of the HTML lacks what is hidden there."""
    return known_tokens(session, (email.text,))


def foreign_links_in(email: rendering.CompiledEmail, tokens: Collection[str], ours: str) -> tuple[str, ...]:
    """Return the links in a compiled email that act for another recipient: those with one of these tokens.

    Links to our pages that a gateway has hidden are included, as they may too.
    """
    parts = (
        *(email.subject, email.preheader, email.html, email.text, *email.links),
        *(template for _name, template, _wins in email.fills),
    )
    hidden = tuple(dict.fromkeys(hidden_in(parts, ours)))
    if not tokens:
        return hidden
    left = sorted(set(tokens_in(parts)) & set(tokens))
    text = SLOT.sub(" ", " ".join(parts))
    return (*(_surrounding_text(token, text) for token in left), *hidden)


def _surrounding_text(token: str, text: str) -> str:
    """Return the URL that contains the token; the bare token where it is spelled differently."""
    at = text.find(token)
    if at < 0:
        return token
    before = _END.split(text[max(0, at - 200) : at])[-1]
    return before + _END.split(text[at : at + 50])[0]


_END = re.compile(r"[\s\"'<>(){}\U0010ff00-\U0010ffff]")


def reject_foreign_links(email: rendering.CompiledEmail, tokens: Collection[str], ours: str) -> None:
    """Raise ``EmailError`` if one of these tokens is left in the email."""
    left = foreign_links_in(email, tokens, ours)
    if left:
        raise EmailError(foreign_links_message(left), "html")


def foreign_links_message(left: Collection[str]) -> str:
    """Return the sentence for links of another recipient that are left in an email."""
    return _(
        "The email was copied from one sent to another recipient and contains that "
        "recipient's links: ${link}. Replace them with the addresses they should lead to, or "
        "remove them.",
        mapping={"link": ", ".join([each[:100] for each in left][:3])},
    )


def compile_to_send(campaign: Campaign, ours: str) -> rendering.CompiledEmail:
    """Compile like ``compile_of``. Raise ``EmailError`` also if links of another recipient are left."""
    session = object_session(campaign)
    tokens = tokens_of(session, campaign) if session else frozenset()
    email = compile_of(campaign, ours)
    if session:
        tokens |= tokens_of_text(session, email)
    reject_foreign_links(email, tokens, ours)
    return email


def compile_of(
    campaign: Campaign, ours: str, targets: Mapping[str, str] | None = None
) -> rendering.CompiledEmail:
    """Compile the campaign's current email. Raise ``EmailError`` with part and line.

    ``ours`` is the public address of the installation; ``targets`` are looked up if not given. The session's
    transaction is ended: see ``db.without_transaction``.
    """
    own = variables(campaign.variables)
    session = object_session(campaign)
    if targets is None:
        targets = copied_targets(session, campaign, ours) if session else {}
    work = partial(
        rendering.compile_email,
        source_of(campaign),
        ours=ours,
        targets=targets,
        campaign_variables={each.name: each.value for each in own},
        overriding=[each.name for each in own if each.override],
    )
    return without_transaction(session, rendering.for_account(campaign.account_id, work))


def freeze(session: Session, campaign: Campaign, now: datetime, ours: str = "") -> FrozenEmail:
    """Return the version to send from now on: the newest one, or a new one if the email has changed.

    Raise ``EmailError``. The session's transaction is ended: see ``db.without_transaction``.
    """
    return store_frozen_email(session, campaign, compile_to_send(campaign, ours), now)


def store_frozen_email(
    session: Session, campaign: Campaign, email: rendering.CompiledEmail, now: datetime
) -> FrozenEmail:
    """Return the version to send from now on, given the email compiled before the current transaction.

    That is the newest version, or a new one if ``email`` differs from it.
    """
    compiled = email.to_json()
    newest = newest_version(session, campaign.id)
    if newest is None or newest.compiled != compiled:
        newest = _add(session, campaign, compiled, now)
    campaign.frozen_email_id = newest.id
    return newest


def newest_version(session: Session, campaign_id: int) -> FrozenEmail | None:
    return session.scalars(
        select(FrozenEmail)
        .where(FrozenEmail.campaign_id == campaign_id)
        .order_by(FrozenEmail.version.desc())
        .limit(1)
    ).first()


def _add(session: Session, campaign: Campaign, compiled: dict[str, Any], now: datetime) -> FrozenEmail:
    last = session.scalar(
        select(func.coalesce(func.max(FrozenEmail.version), 0)).where(FrozenEmail.campaign_id == campaign.id)
    )
    version = FrozenEmail(
        campaign_id=campaign.id,
        version=(last or 0) + 1,
        compiled=compiled,
        variables=dict(campaign.variables),
        created_at=now,
    )
    session.add(version)
    session.flush()
    return version
