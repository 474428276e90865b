"""Plural sentences outside of templates, and translations with context."""

from pyramid.request import Request
from translationstring import TranslationString

from mailganer.web import localization

Forms = tuple[str, str]


def ngettext(one: str, many: str) -> Forms:
    """Mark two forms of a sentence for translation; ``${number}`` is the placeholder for the number."""
    return one, many


def pgettext(context: str, text: str) -> str:
    """Mark a text for translation with a context: in some languages "Paused" has a plural form."""
    message: str = TranslationString(text, domain="mailganer", context=context)
    return message


def counted(request: Request, forms: Forms, number: int) -> str:
    """Return the sentence for ``number`` in the language of the request, with the number formatted."""
    mapping = {"number": localization.number(number)}
    return str(request.localizer.pluralize(*forms, number, domain="mailganer", mapping=mapping))
