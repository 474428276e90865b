"""Variables used by an email: their sources, and for how many recipients each is empty."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.orm import Session

from ..audience.fields import STANDARD, filled_counts, known_fields, values_containing
from ..audience.headings import OTHER_NAMES
from ..models import Campaign
from ..rendering.own_links import place_of
from ..rendering.rendered_links import has_recipients_link
from .values import BUILTIN, Variable, variables

MOST_VALUES = 100  # recipients whose values are examined for links of ours
DOTTED = frozenset({"campaign.name", "list.name", "sender.name", "sender.email"})


class VariableOrigin(StrEnum):
    """Source of a variable's value."""

    subscriber = "subscriber"  # a field of the subscriber
    campaign = "campaign"  # the campaign's own value, for all recipients
    gap = "gap"  # the subscriber's field, or the campaign's value where that is empty
    mailganer = "mailganer"  # set by Mailganer
    unknown = "unknown"  # no field and no value with this name exists


@dataclass(frozen=True)
class VariableUse:
    """A variable of an email, counted over its recipients."""

    name: str
    filled: int
    empty: int
    known: bool
    origin: VariableOrigin = VariableOrigin.subscriber
    guarded: bool = False  # the template handles the empty value

    @property
    def bare(self) -> bool:
        """Return whether some recipients would see a gap."""
        return self.empty > 0 and not self.guarded

    @property
    def unusable(self) -> bool:
        """Return whether no recipient has a value and the template has no default: this blocks sending."""
        return self.origin is VariableOrigin.unknown and not self.guarded


def variable_uses(
    session: Session,
    campaign: Campaign,
    names: Iterable[str],
    audience: int,
    guarded: Collection[str],
) -> tuple[VariableUse, ...]:
    """Return how each of ``names`` is filled for the ``audience`` recipients of the campaign, by name.

    Those that are ``guarded`` leave no gap.
    """
    own = {each.name: each for each in variables(campaign.variables)}
    wanted = sorted(set(names))
    fields = [name for name in wanted if is_field(name) and not (name in own and own[name].override)]
    counted = filled_counts(session, campaign.account_id, [each.id for each in campaign.lists], fields)
    known = _known_names(session, campaign)
    return tuple(
        _use(name, own.get(name), counted.get(name, 0), audience, name in known, name in guarded)
        for name in wanted
    )


def recipients_links(
    session: Session, campaign: Campaign, names: Collection[str], ours: str
) -> Iterator[str]:
    """Yield the fields in which a recipient has a link of an email that was sent."""
    list_ids, hosts = [each.id for each in campaign.lists], place_of(ours).hosts
    found = values_containing(session, campaign.account_id, list_ids, names, hosts, MOST_VALUES)
    for name, values in found.items():
        if any(has_recipients_link(value, ours) for value in values):
            yield name


def unusable_names(
    session: Session, campaign: Campaign, names: Iterable[str], guarded: Collection[str]
) -> tuple[str, ...]:
    """Return those of ``names`` that ``variable_uses`` finds unusable.

    Recipients are counted only for names that no field is known to have: mostly for none.
    """
    own = {each.name: each for each in variables(campaign.variables)}
    wanted = sorted(set(names) - set(guarded))
    unknown = [name for name in wanted if is_field(name) and name not in own and name not in _ALWAYS_KNOWN]
    known = _known_names(session, campaign) if unknown else _ALWAYS_KNOWN
    list_ids = [each.id for each in campaign.lists]
    unknown = [name for name in unknown if name not in known]
    filled = filled_counts(session, campaign.account_id, list_ids, unknown)
    uses = (_use(name, own.get(name), filled.get(name, 0), 0, name in known, False) for name in wanted)
    return tuple(use.name for use in uses if use.unusable)


_ALWAYS_KNOWN = frozenset({*OTHER_NAMES, *STANDARD})


def _known_names(session: Session, campaign: Campaign) -> frozenset[str]:
    return _ALWAYS_KNOWN.union(each.name for each in known_fields(session, campaign.account_id))


def is_field(name: str) -> bool:
    """Return whether a subscriber could have a field with this name; False for names that Mailganer fills."""
    return "." not in name and name not in BUILTIN


def _use(
    name: str, own: Variable | None, filled: int, audience: int, is_field: bool, guarded: bool
) -> VariableUse:
    if name.split(".")[0] in BUILTIN:
        known = name in DOTTED if "." in name else name in BUILTIN
        origin = VariableOrigin.mailganer if known else VariableOrigin.unknown
        return VariableUse(name, audience if known else 0, 0 if known else audience, known, origin, guarded)
    if own is not None and own.value.strip():
        origin = VariableOrigin.campaign if own.override or not filled else VariableOrigin.gap
        return VariableUse(name, audience, 0, True, origin, guarded)
    if own is not None and own.override:
        return VariableUse(name, 0, audience, True, VariableOrigin.campaign, guarded)
    known = is_field or own is not None or filled > 0
    origin = VariableOrigin.subscriber if known else VariableOrigin.unknown
    return VariableUse(name, filled, audience - filled, known, origin, guarded)
