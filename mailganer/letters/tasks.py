"""What the limited process can be asked to do. Arguments and answers are JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from . import prepare, reading
from .bounds import Run
from .engine import Engine, reader_links, render_link
from .parts import Letter, Source, Urls


def compile_letter(
    source: Mapping[str, str],
    variables: Mapping[str, str],
    overriding: list[str],
    ours: str,
    targets: Mapping[str, str],
) -> dict[str, Any]:
    return prepare.prepare(Source(**source), variables, overriding, ours=ours, targets=targets).to_json()


def variables_of(source: Mapping[str, str]) -> list[str]:
    return sorted(prepare.names(Source(**source)))


def render(
    letter: Mapping[str, Any],
    values: Mapping[str, object],
    urls: Mapping[str, str] | None,
    locale: str,
    address: str,
) -> dict[str, str]:
    engine = Engine(
        Letter.from_json(letter),
        locale=locale,
        tracked=urls is not None,
        opens=urls is not None and bool(urls["open"]),
        postal_address=address,
    )
    given = {**values, **reader_links(Urls(**urls) if urls else None)}
    return vars(engine.render(given, Run(locale)))


def link(letter: Mapping[str, Any], address: str, values: Mapping[str, object]) -> str:
    return render_link(Letter.from_json(letter), address, values)


def read(parts: Mapping[str, str], html: str | None, ours: str, broken: bool) -> dict[str, Any]:
    return reading.read(parts, html, ours, broken=broken).to_json()


def glance(parts: Mapping[str, str], html: str) -> list[Any]:
    found = reading.glance(parts, html)
    return [found.size, sorted(found.guarded)]


TASKS: dict[str, Callable[..., Any]] = {
    "compile": compile_letter,
    "variables": variables_of,
    "render": render,
    "link": link,
    "read": read,
    "glance": glance,
}
