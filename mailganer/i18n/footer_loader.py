"""Load the texts of an email's footer, which each language keeps in its ``footer.toml``."""

from ..rendering.types import ENGLISH_FOOTER, FooterTexts
from .languages import language_of


def footer_texts(code: str) -> FooterTexts:
    """Return the footer's texts for a language tag; the English ones for a language without."""
    texts = language_of(code).footer
    return FooterTexts(**texts) if texts else ENGLISH_FOOTER
