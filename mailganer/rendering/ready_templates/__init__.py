"""Ready-made email templates for five occasions, in each language.

A template is a file ``KIND.LANGUAGE.html``; its first comment is JSON with name, subject and preheader.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

KINDS = ("welcome", "announcement", "digest", "birthday", "invitation")
LANGUAGES = ("en", "ru")
_FRONT = re.compile(r"\s*<!--\s*(\{.*?\})\s*-->\s*", re.DOTALL)


@dataclass(frozen=True)
class ReadyTemplate:
    """A ready-made email template. ``name`` is in the template's own language."""

    kind: str
    name: str
    subject: str
    preheader: str
    html: str


@lru_cache(maxsize=8)
def ready_templates(locale: str) -> tuple[ReadyTemplate, ...]:
    """Return the templates of a language in the order of the gallery; English ones for other languages."""
    language = locale[:2].lower()
    return tuple(_read(kind, language if language in LANGUAGES else "en") for kind in KINDS)


def _read(kind: str, language: str) -> ReadyTemplate:
    text = files(__package__).joinpath(f"{kind}.{language}.html").read_text(encoding="utf-8")
    front = _FRONT.match(text)
    if front is None:
        raise ValueError(f"{kind}.{language}.html has no front comment")
    return ReadyTemplate(kind=kind, html=text[front.end() :], **json.loads(front[1]))
