"""Sentences to be translated later: counted ones, ones with a context, joined ones, those of errors."""

from collections.abc import Iterable

from translationstring import TranslationString

from ..errors import BackendError, InputError, MailganerError, _, composed

Forms = tuple[str, str]
"""Singular and plural of a sentence in the language of the source."""


def ngettext(one: str, many: str) -> Forms:
    """Mark two forms of a sentence for translation; ``${number}`` is the placeholder for the number."""
    return one, many


def pgettext(context: str, text: str) -> str:
    """Mark a text for translation with a context: in some languages "Paused" has a plural form."""
    message: str = TranslationString(text, domain="mailganer", context=context)
    return message


def join_sentences(sentences: Iterable[str]) -> str:
    """Join several sentences into one that can still be translated."""
    parts = {f"part{number}": sentence for number, sentence in enumerate(sentences)}
    return composed(" ".join(f"${{{name}}}" for name in parts), parts)


def sentence_of(error: Exception) -> str:
    """Return the message for an error, in our own words."""
    if isinstance(error, InputError):
        return join_sentences(error.fields.values())
    return error.message if isinstance(error, MailganerError) else _UNEXPECTED


def with_reply(error: Exception) -> str:
    """Return the message for an error, followed by the server's answer."""
    reply = reply_beside(error)
    if not reply:
        return sentence_of(error)
    parts = {"sentence": sentence_of(error), "reply": reply}
    return composed("${sentence} ${reply}", parts)


def reply_beside(error: Exception) -> str:
    """Return the server's answer, or an empty string when the message of the error contains it."""
    if not isinstance(error, BackendError):
        return ""
    mapping = getattr(error.message, "mapping", None) or {}
    is_quoted = error.reply.rstrip(".") in {str(value).rstrip(".") for value in mapping.values()}
    return "" if is_quoted else error.reply


_UNEXPECTED = _(
    "The connection to this mail server is broken. The operator of this installation "
    "can find the details in the log."
)
