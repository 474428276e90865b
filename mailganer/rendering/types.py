"""The small frozen values that emails are made of, and nothing that works on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Source:
    """What a person wrote. All four are templates; an empty ``html`` or ``text`` is made from the other."""

    subject: str
    preheader: str = ""
    html: str = ""
    text: str = ""


PARTS = ("subject", "preheader", "html", "text")
"""The parts of an email as a person writes it: a ``Source``, a campaign and a template have them."""


PARAGRAPHS = "paragraphs"
"""Words typed into the HTML field became paragraphs, line breaks and links."""

OWN_ADDRESSES = "own_addresses"
"""Addresses of another recipient, copied with an email that was sent, became this recipient's own."""


@dataclass(frozen=True)
class CompiledEmail:
    """What passed the checks: prepared once, rendered for every reader.

    ``subject``, ``html`` and ``text`` are prepared sources: styles are inlined, links are numbered, the
    places of pixel and footer are marked. Only ``emails`` reads them; everybody else reads ``links``
    and ``variables``.
    """

    subject: str
    preheader: str
    html: str
    text: str
    links: tuple[str, ...]  # link number n (from 1) -> its address, a template
    variables: frozenset[str]  # what the email names; dotted for campaign.name and its like
    # The campaign's own variables: name, template, whether it wins over the reader's value. In an order
    # in which each may use those before it.
    fills: tuple[tuple[str, str, bool], ...] = ()
    typed: bool = False  # written as text only: the HTML is made from it, and errors in it are the text's
    adjusted: tuple[str, ...] = ()  # what was done to the source beyond the usual: PARAGRAPHS, OWN_ADDRESSES

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``from_json`` gives an equal email back."""
        return {
            "subject": self.subject,
            "preheader": self.preheader,
            "html": self.html,
            "text": self.text,
            "links": list(self.links),
            "variables": sorted(self.variables),
            "fills": [list(fill) for fill in self.fills],
            "typed": self.typed,
            "adjusted": list(self.adjusted),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "CompiledEmail":
        return cls(
            subject=kept["subject"],
            preheader=kept["preheader"],
            html=kept["html"],
            text=kept["text"],
            links=tuple(kept["links"]),
            variables=frozenset(kept["variables"]),
            fills=tuple((name, template, bool(wins)) for name, template, wins in kept.get("fills", ())),
            typed=bool(kept.get("typed", False)),
            adjusted=tuple(kept.get("adjusted", ())),
        )


@dataclass(frozen=True)
class Rendered:
    """One reader's email as text: what a preview and the page in the browser show."""

    subject: str
    preheader: str
    html: str
    text: str


class Urls(NamedTuple):
    """Where an email's own links point for one reader. ``click`` is a prefix: link 3 is ``click/3``."""

    unsubscribe: str
    browser: str
    open: str
    click: str


@dataclass(frozen=True)
class Envelope:
    """What is the same in every copy that one sender sends of one email."""

    from_name: str
    from_email: str
    reply_to: str | None = None
    list_id: str = ""  # the right side of List-Id, stable per list: news.17.example.com
    list_name: str = ""
    locale: str = "en"
    track_opens: bool = True
    track_clicks: bool = True
    one_click: bool = True  # leaving takes one click at an https address (RFC 8058), not an email to somebody
    postal_address: str = ""  # printed under the email where a country asks for it
    extra_headers: tuple[tuple[str, str], ...] = ()


class RecipientHeaders(NamedTuple):
    """What is one reader's own. ``message_id`` carries its angle brackets; ``date`` knows its zone."""

    email: str
    name: str
    values: Mapping[str, object]
    urls: Urls
    message_id: str
    date: datetime
