"""What is written: text in, bytes out. No database, no request, no network.

``compile_email`` turns what a person wrote into a frozen ``CompiledEmail``; a ``MessageRenderer`` prints it for one reader
after another. Templates are strangers' work: they are compiled, and rendered for pages, in a limited process.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from . import engine, render_process
from .email_analysis import EmailAnalysis, PageAnalysis
from .message_renderer import MessageRenderer
from .ready_templates import ReadyTemplate, ready_templates
from .render_budget import SECONDS, RenderTooLarge, too_slow
from .render_process import place, refuse_while
from .reserved_names import NEVER_READ, TAGS
from .types import (
    OWN_ADDRESSES,
    PARAGRAPHS,
    PARTS,
    CompiledEmail,
    Envelope,
    RecipientHeaders,
    Rendered,
    Source,
    Urls,
)

# Names that every email may use without anybody having such a column.
GIVEN = frozenset(
    ("unsubscribe_url", "browser_url", "today", "email", "campaign.name", "list.name", "sender.name")
)


T = TypeVar("T")


def for_account(account_id: int, work: Callable[[], T]) -> Callable[[], T]:
    """Return ``work``, counted to an account: one of its emails is worked on at a time, a few more wait.

    What it calls raises ``Busy`` when there are too many.
    """

    def counted() -> T:
        with render_process.counted_to(account_id):
            return work()

    return counted


def compile_email(
    source: Source,
    *,
    campaign_variables: Mapping[str, str] = {},
    overriding: Collection[str] = (),
    ours: str = "",
    targets: Mapping[str, str] = {},
) -> CompiledEmail:
    """An email ready for printing. Raises ``EmailError`` with field and line for what cannot be used.

    ``campaign_variables`` are templates, too. They fill what a reader's values lack; those named in
    ``overriding`` win over the reader's values. Addresses of another recipient at ``ours``, the public
    address of the installation, become this recipient's own; ``targets`` are the addresses behind its counted
    links (``copied``).
    """
    answer = render_process.ask(
        "compile",
        source=vars(source),
        variables=dict(campaign_variables),
        overriding=sorted(overriding),
        ours=ours,
        targets=dict(targets),
    )
    return CompiledEmail.from_json(answer)


def variables_of(source: Source) -> frozenset[str]:
    """The variables a source names, dotted for ``campaign.name``. Raises ``EmailError`` as above."""
    return frozenset(render_process.ask("variables", source=vars(source)))


def safe_render(
    email: CompiledEmail,
    values: Mapping[str, object],
    *,
    urls: Urls | None = None,
    locale: str = "en",
    postal_address: str = "",
) -> Rendered:
    """One reader's email for a page. Without ``urls`` its links lead where they were written to lead, and
    nothing is counted. Raises ``EmailError``."""
    answer = render_process.ask(
        "render",
        email=email.to_json(),
        values=dict(values),
        urls=urls._asdict() if urls else None,
        locale=locale,
        address=postal_address,
    )
    return Rendered(**answer)


def analyse_email(parts: Mapping[str, str], html: str | None, *, ours: str, broken: bool) -> EmailAnalysis:
    """What is found in an email and its sources, as ``reading.read`` takes them. Raises ``EmailError``."""
    return EmailAnalysis.from_json(
        render_process.ask("read", parts=dict(parts), html=html, ours=ours, broken=broken)
    )


def analyse_for_page(parts: Mapping[str, str], html: str) -> PageAnalysis:
    """What the page needs on which an email is written: see ``reading.glance``. Raises ``EmailError``."""
    size, guarded = render_process.ask("glance", parts=dict(parts), html=html)
    return PageAnalysis(size, frozenset(guarded))


def render_link(email: CompiledEmail, number: int, values: Mapping[str, object]) -> str:
    """The reader's target of link ``number``: ASCII, http or https. Raises ``EmailError`` for any other."""
    address = engine.link_of(email, number)
    if "{" in address:
        render_process.require_freedom()
    if "{" not in address or engine.is_quick(email, address):
        with suppress(RenderTooLarge):
            return engine.render_link(email, address, values, engine.quick_run(engine.QUICK_SECONDS))
    # Only what a link needs goes to the limited process.
    slim = replace(email, subject="", preheader="", html="", text="", links=())
    answer: str = render_process.ask("link", email=slim.to_json(), address=address, values=dict(values))
    return answer


__all__ = [
    "GIVEN",
    "NEVER_READ",
    "OWN_ADDRESSES",
    "PARAGRAPHS",
    "PARTS",
    "SECONDS",
    "TAGS",
    "CompiledEmail",
    "EmailAnalysis",
    "Envelope",
    "MessageRenderer",
    "PageAnalysis",
    "ReadyTemplate",
    "RecipientHeaders",
    "Rendered",
    "Source",
    "Urls",
    "analyse_email",
    "analyse_for_page",
    "compile_email",
    "for_account",
    "place",
    "ready_templates",
    "refuse_while",
    "render_link",
    "safe_render",
    "too_slow",
    "variables_of",
]
