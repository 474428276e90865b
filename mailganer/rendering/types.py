"""Immutable data types of emails, without behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Source:
    """What the user wrote. All four are templates; an empty ``html`` or ``text`` is made from the other."""

    subject: str
    preheader: str = ""
    html: str = ""
    text: str = ""


PARTS = ("subject", "preheader", "html", "text")
"""The parts of an email as the user writes it: a ``Source``, a campaign and a template have them."""


PARAGRAPHS = "paragraphs"
"""Text typed into the HTML field became paragraphs, line breaks and links."""

OWN_ADDRESSES = "own_addresses"
"""Addresses of another recipient, copied with an email that was sent, became this recipient's own."""


@dataclass(frozen=True)
class CompiledEmail:
    """A checked email: compiled once, rendered for every recipient.

    ``subject``, ``html`` and ``text`` are prepared sources: styles are inlined, links are numbered, and pixel
    and footer have slots. Only ``rendering`` reads them; other packages read ``links`` and ``variables``.
    """

    subject: str
    preheader: str
    html: str
    text: str
    links: tuple[str, ...]  # link number n (from 1) -> its address, a template
    variables: frozenset[str]  # what the email names; dotted for campaign.name and the like
    # The campaign's own variables: name, template, whether it wins over the recipient's value. Ordered so
    # that each may use those before it.
    fills: tuple[tuple[str, str, bool], ...] = ()
    typed: bool = False  # written as text only: the HTML is made from it, and errors in it are the text's
    own_text: bool = False  # the text was written beside the HTML, not made from it
    adjusted: tuple[str, ...] = ()  # unusual changes to the source: PARAGRAPHS, OWN_ADDRESSES

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; ``from_json`` restores an equal email from them."""
        return {
            "subject": self.subject,
            "preheader": self.preheader,
            "html": self.html,
            "text": self.text,
            "links": list(self.links),
            "variables": sorted(self.variables),
            "fills": [list(fill) for fill in self.fills],
            "typed": self.typed,
            "own_text": self.own_text,
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
            own_text=bool(kept.get("own_text", False)),
            adjusted=tuple(kept.get("adjusted", ())),
        )


@dataclass(frozen=True)
class Rendered:
    """One recipient's email as text, for a preview and for the browser view."""

    subject: str
    preheader: str
    html: str
    text: str


class Urls(NamedTuple):
    """Targets of an email's own links for one recipient. ``click`` is a prefix: link 3 is ``click/3``."""

    unsubscribe: str
    browser: str
    open: str
    click: str


class FooterTexts(NamedTuple):
    """Texts under an email that has no unsubscribe link of its own, in the email's language."""

    why: str
    unsubscribe: str
    browser: str


ENGLISH_FOOTER = FooterTexts(  # as in i18n/en/footer.toml, for uses of this package alone
    why="You are receiving this email because you agreed to receive emails from this sender.",
    unsubscribe="Unsubscribe",
    browser="Open in the browser",
)


@dataclass(frozen=True)
class Envelope:
    """What is the same in every copy that one sender sends of one email."""

    from_name: str
    from_email: str
    reply_to: str | None = None
    list_id: str = ""  # the right side of List-Id, stable per list: news.17.example.com
    list_name: str = ""
    locale: str = "en"
    footer: FooterTexts = ENGLISH_FOOTER
    track_opens: bool = True
    track_clicks: bool = True
    one_click: bool = True  # one click at an https address unsubscribes (RFC 8058), instead of an email
    postal_address: str = ""  # put under the email where a country requires it
    extra_headers: tuple[tuple[str, str], ...] = ()


class RecipientHeaders(NamedTuple):
    """What differs per recipient. ``message_id`` includes its angle brackets; ``date`` has a time zone."""

    email: str
    name: str
    values: Mapping[str, object]
    urls: Urls
    message_id: str
    date: datetime
