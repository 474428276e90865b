"""Check of links and images: whether each leads somewhere, for every recipient.

The email is checked as its first recipient gets it. Links that begin with a field of the subscribers are
counted over all recipients: a value without ``https://`` breaks the link for its subscriber alone.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from sqlalchemy import ColumnElement, func, not_, or_
from sqlalchemy.orm import Session

from ... import rendering
from ...audience.fields import is_filled, subscriber_values, text_of
from ...audience.recipients import recipients
from ...errors import _, composed
from ...i18n.languages import languages
from ...i18n.ready_templates import ready_templates
from ...models import Campaign, Subscriber
from ...rendering.email_facts import EmailFacts
from ...rendering.link_faults import LinkFault, browser_reading
from ...rendering.link_report import BrokenLink, LinkReport
from ..preview import sample_recipient
from ..values import variables
from ..variables import is_field
from .findings import CampaignStep, Finding, PassedCheck, Problem, Severity

LINK = "broken_link"
BROKEN_IMAGE = "broken_picture"
VALUES = "link_values"
MOST_FIELDS = 20  # fields at the beginning of links; each is counted over all recipients


def at_links(
    session: Session,
    campaign: Campaign,
    reading: rendering.EmailAnalysis,
    links: Sequence[str],
    unknown: Sequence[str] = (),
) -> Iterator[Finding]:
    """``links`` are the counted links of the email as they were written, ``unknown`` those that were copied
    from another email and lead nowhere."""
    look, report = reading.facts, reading.links
    if look is None or report is None:
        return
    problems = [*_at_values(session, campaign, links)]
    own = _Own(session, campaign, [each.field for each in problems]) if report.broken else None
    problems += _at_addresses(
        [own.shown(each) for each in report.broken if not own.is_reported(each)] if own else ()
    )
    problems += _at_anchors(report)
    problems += _at_examples(look)
    problems += _at_images(report)
    yield from problems
    dead = any(each.code != BROKEN_IMAGE for each in problems)
    if look.links and not dead and not unknown and not look.local_links and not report.has_tags:
        yield PassedCheck(_("All links are valid."))


# --- links as the first recipient gets them

_SENTENCES: Mapping[LinkFault, str] = {
    LinkFault.no_scheme: _("Links without https:// do not work in emails: ${link}"),
    LinkFault.relative: _("Links without a domain do not work in emails: ${link}"),
    LinkFault.no_protocol: _("Links that begin with // do not work in many email apps: ${link}"),
    LinkFault.file: _("Links to files on your computer do not work: ${link}"),
    LinkFault.inside: _("Links to a part of the email that does not exist do not work: ${link}"),
    LinkFault.unopened: _("Email apps do not open links that begin with data: and similar schemes: ${link}"),
    LinkFault.code: _("Variables in these links are not replaced, because the braces are encoded: ${link}"),
    LinkFault.mistyped: _("Misspelled links do not work: ${link}"),
    LinkFault.script: _("Links that run a script do not work in emails: ${link}"),
    LinkFault.mail: _("Links to an email address need “mailto:” and the address: ${link}"),
}
_MEANT = _("${sentence} Did you mean ${likely}?")


def _at_addresses(broken: Sequence[BrokenLink]) -> Iterator[Problem]:
    """Yield one problem per kind of fault."""
    for fault, sentence in _SENTENCES.items():
        found = [each for each in broken if each.fault is fault]
        if found:
            yield _problem(LINK, sentence, [each.address for each in found], found[0].likely)


def _problem(code: str, sentence: str, found: Sequence[str], likely: str = "") -> Problem:
    message = _(sentence, mapping={"link": _few(found)})
    if likely:
        message = _(_MEANT, mapping={"sentence": message, "likely": likely[:120]})
    return Problem(code, message, Severity.warning, CampaignStep.email, _("Fix links"), field="html")


def _few(found: Sequence[str], end: str = ".") -> str:
    shown = {f"link{n}": _("“${link}”", mapping={"link": each[:60]}) for n, each in enumerate(found[:3])}
    return composed(", ".join(f"${{{name}}}" for name in shown) + (", …" if len(found) > 3 else end), shown)


class _Own:
    """Values of the first recipient within links, because the email was rendered with them."""

    def __init__(self, session: Session, campaign: Campaign, reported: Collection[str]) -> None:
        """``reported``: fields with a problem of their own."""
        recipient = sample_recipient(session, campaign)
        values = subscriber_values(recipient, reported) if recipient else {}
        texts = {name: browser_reading(str(value or "")).lower() for name, value in values.items()}
        self._reported = tuple(texts[name] for name in reported if texts.get(name))
        self._values = [text for text in texts.values() if len(text) >= _SHORTEST_VALUE]

    def is_reported(self, link: BrokenLink) -> bool:
        """Return whether the link is broken by a value that has a problem for all recipients already."""
        address = browser_reading(link.address).lower()
        bare = re.sub(r"^https?://", "", address)
        return not link.written and any(
            each.startswith(value[: len(each)])
            for value in self._reported
            for each in (address, bare)
            if each
        )

    def shown(self, link: BrokenLink) -> BrokenLink:
        """Remove a suggestion that would lead all recipients to one recipient's value."""
        if link.written or not any(value in link.likely.lower() for value in self._values):
            return link
        return replace(link, likely="")


_SHORTEST_VALUE = 3  # characters; shorter values occur in many URLs


def _at_anchors(report: LinkReport) -> Iterator[Problem]:
    """Yield a problem for empty links, "#", and links to missing anchors."""
    if report.nowhere:
        mapping = {"number": report.nowhere, "links": _few(report.nowhere_names, end="")}
        yield Problem(
            "dead_links",
            _("Links that do not work: ${number} (${links}).", mapping=mapping)
            if report.nowhere_names
            else _("Links that do not work: ${number}.", mapping=mapping),
            Severity.warning,
            CampaignStep.email,
            _("View email"),
        )


def _at_examples(look: EmailFacts) -> Iterator[Problem]:
    """Yield a problem for links to example.com: only a note if they all come from a ready-made template."""
    if look.example_links:
        ready = set(look.example_links) <= _ready_links()
        yield Problem(
            "example_links",
            _("Links from the sample template: ${link}", mapping={"link": _few(look.example_links)}),
            Severity.note if ready else Severity.warning,
            CampaignStep.email,
            _("View email"),
        )


@cache
def _ready_links() -> frozenset[str]:
    sources = [ready.html for each in languages() for ready in ready_templates(each.code)]
    return frozenset(link for source in sources for link in re.findall(r'href="(https?://[^"{]+)"', source))


# --- images


def _at_images(report: LinkReport) -> Iterator[Problem]:
    """Yield a problem for images without a full URL. ``data:`` images are checked elsewhere."""
    if report.lost_images:
        yield Problem(
            BROKEN_IMAGE,
            _(
                "Images without a full web address are not shown: ${link}",
                mapping={"link": _few(report.lost_images)},
            ),
            Severity.warning,
            CampaignStep.email,
            _("View email"),
            field="html",
        )


# --- links built from a subscriber's value

_BEGINS = re.compile(
    r"\s*(?P<scheme>https?://)?\{\{-?\s*(?P<name>[^\W\d]\w*)\s*(?P<more>[^}]*)", re.IGNORECASE
)
_WEB = ("http://%", "https://%")
_OTHERS = ("mailto:%", "tel:%", "sms:%")


def _at_values(session: Session, campaign: Campaign, links: Sequence[str]) -> Iterator[Problem]:
    own = {each.name for each in variables(campaign.variables) if each.override}
    begun = [begins for link in links if (begins := _BEGINS.match(link))]
    made = dict.fromkeys((each["name"], bool(each["scheme"])) for each in begun)
    wanted = [each for each in made if is_field(each[0]) and each[0] not in own]
    for name, has_scheme in wanted[:MOST_FIELDS]:
        yield from _at_value(session, campaign, name, has_scheme)


def _at_value(session: Session, campaign: Campaign, name: str, has_scheme: bool) -> Iterator[Problem]:
    value = func.lower(func.trim(text_of(name)))
    allowed = _WEB if campaign.track_clicks else _WEB + _OTHERS
    is_web: ColumnElement[bool] = or_(*(value.like(each) for each in (_WEB if has_scheme else allowed)))
    wrong = is_web if has_scheme else not_(is_web)
    list_ids = [each.id for each in campaign.lists]
    number, example = session.execute(
        recipients(campaign.account_id, list_ids)
        .with_only_columns(func.count(Subscriber.id), func.min(text_of(name)))
        .order_by(None)
        .where(is_filled(name), wrong)
    ).one()
    if not number:
        return
    mapping = {"name": name, "number": number, "value": str(example)[:60]}
    sentence = (
        _(
            "The link “https://{{ ${name} }}” does not work for recipients whose “${name}” "
            "already has https:// (${number}, for example “${value}”).",
            mapping=mapping,
        )
        if has_scheme
        else _(
            "The link “{{ ${name} }}” does not work for recipients whose “${name}” has no "
            "https:// (${number}, for example “${value}”).",
            mapping=mapping,
        )
    )
    yield Problem(VALUES, sentence, Severity.warning, CampaignStep.email, _("Fix links"), field=name)
