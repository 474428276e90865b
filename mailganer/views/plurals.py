"""Sentences with a number, outside of templates, and words for one thing and for several."""

from pyramid.request import Request
from translationstring import TranslationString

from mailganer.web import localization

Forms = tuple[str, str]


def ngettext(one: str, many: str) -> Forms:
    """Marks two forms of a sentence for translation; ``${number}`` is where the number stands."""
    return one, many


def pgettext(context: str, text: str) -> TranslationString:
    """Marks a text that one language says alike and another does not: "Paused", of one and of several."""
    return TranslationString(text, domain="mailganer", context=context)


def counted(request: Request, forms: Forms, number: int) -> str:
    """The sentence for ``number`` in the language of the request, the number written as people write it."""
    mapping = {"number": localization.number(number)}
    return request.localizer.pluralize(*forms, number, domain="mailganer", mapping=mapping)
