"""Tasks that the limited process can run. Arguments and results are JSON."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import compiler, email_analysis
from .engine import Engine, recipient_links, render_link
from .render_budget import RenderBudget
from .rendered_links import OtherRecipients
from .types import CompiledEmail, FooterTexts, Source, Urls


def compile_email(
    source: Mapping[str, str],
    variables: Mapping[str, str],
    overriding: list[str],
    ours: str,
    targets: Mapping[str, str],
) -> dict[str, Any]:
    return compiler.prepare(Source(**source), variables, overriding, ours=ours, targets=targets).to_json()


def variables_of(source: Mapping[str, str]) -> list[str]:
    return sorted(compiler.names(Source(**source)))


def render(
    email: Mapping[str, Any],
    values: Mapping[str, object],
    urls: Mapping[str, str] | None,
    locale: str,
    footer: Sequence[str],
    address: str,
) -> dict[str, str]:
    engine = Engine(
        CompiledEmail.from_json(email),
        footer=FooterTexts(*footer),
        tracked=urls is not None,
        opens=urls is not None and bool(urls["open"]),
        postal_address=address,
    )
    own = Urls(**urls) if urls else None
    rendered = engine.render({**values, **recipient_links(own)}, RenderBudget(locale))
    return vars(OtherRecipients(own).in_rendered(rendered) if own else rendered)


def link(email: Mapping[str, Any], address: str, values: Mapping[str, object]) -> str:
    return render_link(CompiledEmail.from_json(email), address, values)


def read(parts: Mapping[str, str], html: str | None, ours: str, broken: bool) -> dict[str, Any]:
    return email_analysis.analyse(parts, html, ours, broken=broken).to_json()


def analyse_for_page(parts: Mapping[str, str], html: str) -> list[Any]:
    found = email_analysis.analyse_for_page(parts, html)
    return [found.size, sorted(found.guarded)]


TASKS: dict[str, Callable[..., Any]] = {
    "compile": compile_email,
    "variables": variables_of,
    "render": render,
    "link": link,
    "read": read,
    "analyse_for_page": analyse_for_page,
}
