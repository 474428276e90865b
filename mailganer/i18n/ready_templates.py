"""Ready-made email templates for five occasions, in each language.

A template is a file ``CODE/templates/KIND.html``; its first comment is JSON with name, subject and preheader.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache

from ..errors import NotFound
from .languages import SOURCE_LANGUAGE, Language, language_of

KINDS = ("welcome", "announcement", "digest", "birthday", "invitation")
_FRONT = re.compile(r"\s*<!--\s*(\{.*?\})\s*-->\s*", re.DOTALL)


@dataclass(frozen=True)
class ReadyTemplate:
    """A ready-made email template. ``name`` is in the template's own language."""

    kind: str
    name: str
    subject: str
    preheader: str
    html: str


def ready_templates(code: str) -> tuple[ReadyTemplate, ...]:
    """Return the templates for a language tag in the order of the gallery.

    Those that the language lacks are in the language of the source.
    """
    return _read_all(language_of(code))


def ready_template(kind: str, code: str) -> ReadyTemplate:
    """Return the template of this kind for a language tag. Raise ``NotFound``."""
    for ready in ready_templates(code):
        if ready.kind == kind:
            return ready
    raise NotFound()


@lru_cache(maxsize=32)
def _read_all(language: Language) -> tuple[ReadyTemplate, ...]:
    return tuple(_read(kind, language) for kind in KINDS)


def _read(kind: str, language: Language) -> ReadyTemplate:
    path = language.folder / "templates" / f"{kind}.html"
    if not path.exists() and language.code != SOURCE_LANGUAGE:
        return _read(kind, language_of(SOURCE_LANGUAGE))
    text = path.read_text(encoding="utf-8")
    front = _FRONT.match(text)
    if front is None:
        raise ValueError(f"{path} has no front comment")
    return ReadyTemplate(kind=kind, html=text[front.end() :], **json.loads(front[1]))
