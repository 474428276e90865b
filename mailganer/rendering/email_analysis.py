"""Analysis of an email before it is sent, in one result for the check and the email page.

Sources and rendered emails are untrusted. All of them are read in the limited process (``render_process``),
and each part reads a text once: see ``tests/rendering/test_email_analysis.py``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .collapsed_lines import has_collapsed_lines
from .email_facts import EmailFacts, read_facts
from .encodings import is_quoted_printable
from .foreign_tags import Tag, foreign_tags
from .guarded_variables import guarded_names
from .link_faults import LinkFault
from .link_report import BrokenLink, LinkReport, report_links
from .preview_size import preview_size
from .rendered_links import has_recipients_link


@dataclass(frozen=True)
class EmailAnalysis:
    """Result of the analysis. ``facts`` and ``links`` are set only for an email that could be rendered."""

    tags: tuple[tuple[str, Tag], ...] = ()  # placeholders of other products, and the parts they are in
    guarded: frozenset[str] = frozenset()  # variables that leave no gap when they are empty
    collapsed_lines: bool = False  # empty lines of the source are not shown
    quoted_printable: bool = False  # the HTML is the encoded source of an email
    recipients_links: bool = False  # values, or what the template computes, are links of a recipient
    facts: EmailFacts | None = None
    links: LinkReport | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "tags": [[part, asdict(tag)] for part, tag in self.tags],
            "guarded": sorted(self.guarded),
            "collapsed_lines": self.collapsed_lines,
            "quoted_printable": self.quoted_printable,
            "recipients_links": self.recipients_links,
            "facts": asdict(self.facts) if self.facts else None,
            "links": asdict(self.links) if self.links else None,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "EmailAnalysis":
        return cls(
            tags=tuple((part, Tag(**tag)) for part, tag in kept["tags"]),
            guarded=frozenset(kept["guarded"]),
            collapsed_lines=kept["collapsed_lines"],
            quoted_printable=kept["quoted_printable"],
            recipients_links=kept["recipients_links"],
            facts=EmailFacts(**_with_tuples(kept["facts"])) if kept["facts"] else None,
            links=_links(kept["links"]) if kept["links"] else None,
        )


@dataclass(frozen=True)
class PageAnalysis:
    """What the editor page of an email needs."""

    size: str = ""  # of the preview: "small", "medium" or empty
    guarded: frozenset[str] = frozenset()


def analyse(parts: Mapping[str, str], html: str | None, ours: str, *, broken: bool) -> EmailAnalysis:
    """Analyse the sources and the rendered HTML of an email.

    ``parts`` are the sources by name, values of variables included. ``html`` is the email as the first
    recipient gets it, None when there is none or it cannot be rendered; ``broken`` states the latter.
    ``ours`` is the installation's own address.
    """
    sources = [text for part, text in parts.items() if not part.startswith("variables.")]
    written = parts.get("html", "")
    return EmailAnalysis(
        tags=tuple(
            (part, tag)
            for part, text in parts.items()
            for tag in foreign_tags(text, html=part == "html", broken=broken)
        ),
        guarded=guarded_names(sources),
        collapsed_lines=has_collapsed_lines(written),
        quoted_printable=is_quoted_printable(written),
        recipients_links=html is not None and has_recipients_link(html, ours),
        facts=read_facts(html, source=written, ours=ours) if html is not None else None,
        links=report_links(html, written) if html is not None else None,
    )


def analyse_for_page(parts: Mapping[str, str], html: str) -> PageAnalysis:
    """Analyse an email for its editor page: ``html`` is empty when nothing can be shown."""
    return PageAnalysis(preview_size(html), guarded_names(parts.values()))


def _with_tuples(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}


def _links(kept: Mapping[str, Any]) -> LinkReport:
    values = _with_tuples(kept)
    broken = (BrokenLink(**(each | {"fault": LinkFault(each["fault"])})) for each in values.pop("broken"))
    return LinkReport(broken=tuple(broken), **values)
