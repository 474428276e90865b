"""Sentences with a number, outside of templates."""

from pyramid.request import Request

from mailganer import i18n

Forms = tuple[str, str]


def ngettext(one: str, many: str) -> Forms:
    """Marks two forms of a sentence for translation; ``${number}`` is where the number stands."""
    return one, many


def counted(request: Request, forms: Forms, number: int) -> str:
    """The sentence for ``number`` in the language of the request, the number written as people write it."""
    mapping = {"number": i18n.number(number)}
    return request.localizer.pluralize(*forms, number, domain="mailganer", mapping=mapping)
