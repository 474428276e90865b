"""Sample data of each language: subscribers of the demo account, values for previews.

What a language lacks is that of the source language.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .languages import SOURCE_LANGUAGE, language_of


@dataclass(frozen=True)
class SampleSubscriber:
    """A row of ``sample_subscribers.csv``; values that are missing are empty."""

    email: str
    first_name: str
    last_name: str
    birthday: str
    city: str


def sample_list_name(code: str) -> str:
    """Return the name of the list of sample subscribers for a language tag."""
    return str(_section(code, "sample_list")["name"])


def sample_subscribers(code: str) -> tuple[SampleSubscriber, ...]:
    """Return the sample subscribers for a language tag."""
    path = language_of(code).folder / "sample_subscribers.csv"
    if not path.exists():
        path = language_of(SOURCE_LANGUAGE).folder / path.name
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(SampleSubscriber(**row) for row in csv.DictReader(file))


def preview_subscriber(code: str) -> dict[str, str]:
    """Return the values of a subscriber for the preview of a template."""
    return dict(_section(code, "preview_subscriber"))


def _section(code: str, name: str) -> Mapping[str, Any]:
    section: Mapping[str, Any] | None = language_of(code).description.get(name)
    return language_of(SOURCE_LANGUAGE).description[name] if section is None else section
