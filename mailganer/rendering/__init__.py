"""Email rendering: template text in, MIME bytes out. No database, no request, no network.

``compile_email`` turns the source a user wrote into a frozen ``CompiledEmail``; a ``MessageRenderer`` renders
it for one recipient after another. Templates are untrusted: they are compiled, and rendered for pages, in a
separate process under limits.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from . import engine, render_process
from .email_analysis import EmailAnalysis, PageAnalysis
from .message_renderer import MessageRenderer
from .page_renderer import PageRenderer
from .render_budget import SECONDS, RenderTooLarge, too_slow
from .render_process import refuse_while, render_permit
from .reserved_names import NEVER_READ, TAGS
from .types import (
    ENGLISH_FOOTER,
    OWN_ADDRESSES,
    PARAGRAPHS,
    PARTS,
    CompiledEmail,
    Envelope,
    FooterTexts,
    RecipientHeaders,
    Rendered,
    Source,
    Urls,
)

# Names that every email may use although no subscriber field has them.
GIVEN = frozenset(
    ("unsubscribe_url", "browser_url", "today", "email", "campaign.name", "list.name", "sender.name")
)


T = TypeVar("T")


def for_account(account_id: int, work: Callable[[], T]) -> Callable[[], T]:
    """Return ``work`` bound to an account: one of its emails is processed at a time and a few more wait.

    What ``work`` calls raises ``Busy`` when too many wait.
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
    """Compile an email. Raises ``EmailError`` with field and line for invalid input.

    ``campaign_variables`` are templates, too. They fill what a recipient's values lack; those named in
    ``overriding`` win over the recipient's values. Links at ``ours``, the public address of the installation,
    that belong to another recipient become this recipient's own; ``targets`` are the addresses behind that
    recipient's counted links (see ``copied_links``).
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
    """Return the variables that a source names, dotted for ``campaign.name``. Raises ``EmailError``."""
    return frozenset(render_process.ask("variables", source=vars(source)))


def safe_render(
    email: CompiledEmail,
    values: Mapping[str, object],
    *,
    urls: Urls | None = None,
    locale: str = "en",
    footer: FooterTexts = ENGLISH_FOOTER,
    postal_address: str = "",
) -> Rendered:
    """Render one recipient's email for a page. Raises ``EmailError``.

    Without ``urls`` its links lead straight to their targets and nothing is counted.
    """
    answer = render_process.ask(
        "render",
        email=email.to_json(),
        values=dict(values),
        urls=urls._asdict() if urls else None,
        locale=locale,
        footer=footer,
        address=postal_address,
    )
    return Rendered(**answer)


def analyse_email(parts: Mapping[str, str], html: str | None, *, ours: str, broken: bool) -> EmailAnalysis:
    """Analyse an email and its sources, given as for ``email_analysis.analyse``. Raises ``EmailError``."""
    return EmailAnalysis.from_json(
        render_process.ask("read", parts=dict(parts), html=html, ours=ours, broken=broken)
    )


def analyse_for_page(parts: Mapping[str, str], html: str) -> PageAnalysis:
    """Return what the editor page needs, see ``email_analysis.analyse_for_page``. Raises ``EmailError``."""
    size, guarded = render_process.ask("analyse_for_page", parts=dict(parts), html=html)
    return PageAnalysis(size, frozenset(guarded))


def render_link(email: CompiledEmail, number: int, values: Mapping[str, object]) -> str:
    """Return the recipient's target of link ``number``: ASCII, http or https. Raises ``EmailError``."""
    address = engine.link_of(email, number)
    if "{" in address:
        render_process.require_no_transaction()
    if "{" not in address or engine.is_quick(email, address):
        with suppress(RenderTooLarge):
            return engine.render_link(email, address, values, engine.quick_run(engine.QUICK_SECONDS))
    # Send only what a link needs to the limited process.
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
    "PageRenderer",
    "RecipientHeaders",
    "Rendered",
    "Source",
    "Urls",
    "analyse_email",
    "analyse_for_page",
    "compile_email",
    "for_account",
    "refuse_while",
    "render_link",
    "render_permit",
    "safe_render",
    "too_slow",
    "variables_of",
]
