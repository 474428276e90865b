"""The letter as it goes out: frozen when a campaign starts, and again after an edit."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, object_session

from .. import letters
from ..db import outside
from ..letters.copied import clicks_in, key_of
from ..models import Campaign, LetterVersion, Template
from .copied import targets_of
from .values import variables


def parts_of(written: Campaign | Template) -> dict[str, str]:
    """What a person wrote, by its parts."""
    return {part: getattr(written, part) for part in letters.PARTS}


def texts_of(campaign: Campaign) -> dict[str, str]:
    """All texts in which template code may stand: the parts, and the campaign's variables by their names."""
    own = {f"variables.{each.name}": each.value for each in variables(campaign.variables)}
    return parts_of(campaign) | own


def source_of(written: Campaign | Template) -> letters.Source:
    """The four templates a person wrote."""
    return letters.Source(**parts_of(written))


def copied_targets(session: Session, campaign: Campaign, ours: str) -> Mapping[str, str]:
    """The addresses behind links that were copied from emails sent before (``copied.targets_of``)."""
    return targets_of(session, campaign.account_id, _written(campaign), ours)


def unknown_clicks(campaign: Campaign, ours: str, targets: Mapping[str, str]) -> tuple[str, ...]:
    """The addresses of such links that have no target."""
    keys = sorted(key_of(click) for click in clicks_in(_written(campaign), ours))
    return tuple(f"{ours}/c/{key}" for key in keys if key not in targets)


def _written(campaign: Campaign) -> tuple[str, ...]:
    return (campaign.html, campaign.text, *(each.value for each in variables(campaign.variables)))


def compile_of(campaign: Campaign, ours: str, targets: Mapping[str, str] | None = None) -> letters.Letter:
    """The campaign's letter as it stands now. Raises ``LetterError`` with part and line.

    ``ours`` is the public address of the installation; ``targets`` are looked up where they are not given.
    The session's transaction is given back: see ``db.outside``.
    """
    own = variables(campaign.variables)
    session = object_session(campaign)
    if targets is None:
        targets = copied_targets(session, campaign, ours) if session else {}
    work = partial(
        letters.compile_letter,
        source_of(campaign),
        ours=ours,
        targets=targets,
        campaign_variables={each.name: each.value for each in own},
        overriding=[each.name for each in own if each.override],
    )
    return outside(session, letters.for_account(campaign.account_id, work))


def freeze(session: Session, campaign: Campaign, now: datetime, ours: str = "") -> LetterVersion:
    """The version that goes out from now on: the newest one, or a new one when the letter has changed.

    Raises ``LetterError``. The session's transaction is given back: see ``db.outside``.
    """
    return keep(session, campaign, compile_of(campaign, ours), now)


def keep(session: Session, campaign: Campaign, letter: letters.Letter, now: datetime) -> LetterVersion:
    """The same for a letter compiled already, before the transaction that this is a part of."""
    compiled = letter.to_json()
    newest = newest_version(session, campaign.id)
    if newest is None or newest.compiled != compiled:
        newest = _add(session, campaign, compiled, now)
    campaign.letter_id = newest.id
    return newest


def newest_version(session: Session, campaign_id: int) -> LetterVersion | None:
    return session.scalars(
        select(LetterVersion)
        .where(LetterVersion.campaign_id == campaign_id)
        .order_by(LetterVersion.version.desc())
        .limit(1)
    ).first()


def _add(session: Session, campaign: Campaign, compiled: dict[str, Any], now: datetime) -> LetterVersion:
    last = session.scalar(
        select(func.coalesce(func.max(LetterVersion.version), 0)).where(
            LetterVersion.campaign_id == campaign.id
        )
    )
    version = LetterVersion(
        campaign_id=campaign.id,
        version=(last or 0) + 1,
        compiled=compiled,
        variables=dict(campaign.variables),
        created_at=now,
    )
    session.add(version)
    session.flush()
    return version
