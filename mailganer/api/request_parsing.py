"""Request parsing: query parameters, size-limited JSON, and multipart forms."""

import json
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, urlencode

from pyramid.config.views import ViewDeriverInfo
from pyramid.httpexceptions import HTTPRequestEntityTooLarge, HTTPUnsupportedMediaType
from pyramid.request import Request
from pyramid.response import Response

from ..errors import InputError, MalformedBody, _
from ..web import end_transaction
from .document import query_parameters, read_only
from .validation_errors import LONGEST_FIELD, MOST

LARGEST_JSON = (
    16_000_000  # bytes: an email of a megabyte as HTML and as text, with Cyrillic written as \u escapes
)
MOST_VALUES = 10_000  # in one JSON body; a campaign with all its variables has a few hundred
LEAST_BYTES = 2 * MOST_VALUES  # bytes: the shortest body with more values than that
LARGEST_PART = 1_000_000  # bytes of a form part other than the CSV file
YES = frozenset({"true", "1", "yes", "on"})
NO = frozenset({"false", "0", "no", "off"})

View = Callable[[Any, Request], Response]
Wrapper = Callable[[View], View]

ALWAYS = frozenset({"lang"})  # the language of sentences, accepted on every path


NAMES_ONE = frozenset({"email", "list", "subscriber_id"})
"""Parameters that identify a subscriber or a list: left empty, they would match all of them."""


def only_known_parameters(view: View) -> View:
    """Reject query parameters that could return more than intended.

    These are: parameters that the document does not name, repeated ones, and empty ones that identify a
    subscriber or a list.
    """

    def answer(context: Any, request: Request) -> Response:
        known = query_parameters(request) | ALWAYS
        parameters = parse_qsl(request.query_string, keep_blank_values=True)
        wrong = _wrong_parameters(parameters, known)
        if wrong:
            raise InputError(wrong)
        return view(context, request)

    return answer


def _wrong_parameters(parameters: Sequence[tuple[str, str]], known: Collection[str]) -> dict[str, str]:
    """Return error messages by parameter, at most ``MOST``."""
    wrong: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in parameters:
        if len(wrong) == MOST:
            break
        if name in wrong:
            continue
        if name not in known:
            wrong[name[:LONGEST_FIELD]] = _no_parameter(name, known)
        elif name in seen:
            wrong[name] = _("This parameter is given more than once. Send one value.")
        elif name in NAMES_ONE and not value.strip():
            wrong[name] = _("The value is empty. Send a value or omit the parameter.")
        seen.add(name)
    return wrong


def _no_parameter(name: str, known: Collection[str]) -> str:
    likely = get_close_matches(name, sorted(known), 1)
    if likely:
        return _("Unknown parameter. Did you mean “${likely}”?", mapping={"likely": likely[0]})
    return _("Unknown parameter.")


def without_blanks(view: View) -> View:
    """Treat an empty parameter as omitted: ``?after=`` returns the first page."""

    def answer(context: Any, request: Request) -> Response:
        request.environ["QUERY_STRING"] = urlencode(parse_qsl(request.query_string))
        return view(context, request)

    return answer


def only_json(view: View) -> View:
    """Reject bodies above the size limit before they are read into memory, and multipart forms.

    The validator fails on forms whose Content-Type has an unusual boundary.
    """

    def answer(context: Any, request: Request) -> Response:
        if (request.content_length or 0) > LARGEST_JSON:
            raise HTTPRequestEntityTooLarge
        if request.content_type.startswith("multipart/"):
            raise HTTPUnsupportedMediaType
        if request.content_type == "application/json" and (request.content_length or 0) > LEAST_BYTES:
            _require_few(read_json(request.body))
        return view(context, request)

    return answer


def _require_few(value: Any) -> None:
    """Reject a body with more than ``MOST_VALUES`` values: each error message would take a kilobyte."""
    waiting, number = [value], 0
    while waiting:
        each = waiting.pop()
        inside = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        number += len(inside)
        if number > MOST_VALUES:
            raise InputError(
                {"body": _("Too many values. The maximum is ${most}.", mapping={"most": MOST_VALUES})}
            )
        waiting.extend(inside)


def read_json(text: bytes | str, field: str = "body") -> Any:
    """Parse JSON that can be stored.

    Raise ``InputError`` under ``field``, ``MalformedBody`` for invalid JSON. Our own error, because the
    validator's error cannot print bytes that are not UTF-8.
    """
    sentence = _("The value is not valid JSON.")
    try:
        value = json.loads(text, parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate (\ud800) cannot be stored
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        kind = MalformedBody if field == "body" else InputError
        raise kind({field: sentence}) from error
    except ValueError as error:  # valid JSON with a number or character that cannot be stored
        raise InputError({field: sentence}) from error
    return value


def _no_number(word: str) -> None:
    raise json.JSONDecodeError(f"{word} is no JSON", word, 0)


def read_form_first(view: View) -> View:
    """Read a body of any size while no transaction is open: on SQLite all other writers would wait."""

    def answer(context: Any, request: Request) -> Response:
        if request.method == "POST":
            end_transaction(request)
            form_of(request)
        return view(context, request)

    return answer


def without_read_only(view: View, info: ViewDeriverInfo) -> View:
    """Drop read-only fields from the body, so that clients may send a whole object back with some changes."""
    if not info.options.get("openapi"):
        return view

    def answer(context: Any, request: Request) -> Response:
        body = request.openapi_validated.body
        for name in read_only(request) if isinstance(body, dict) else ():
            body.pop(name, None)
        return view(context, request)

    return answer


without_read_only.options = ("openapi",)  # type: ignore[attr-defined]


def form_of(request: Request) -> Any:
    """Return the parts of a multipart body. Raise ``HTTPUnsupportedMediaType`` for any other."""
    if request.content_type != "multipart/form-data" or request.charset.lower() != "utf-8":
        raise HTTPUnsupportedMediaType
    return request.POST


def text_of(part: Any) -> bytes | str:
    """Return the content of a part, sent as a value or as a file."""
    text: bytes | str = part.file.read(LARGEST_PART) if hasattr(part, "file") else part
    return text


def is_yes(part: Any, field: str) -> bool:
    """Parse a boolean in any usual spelling. Raise ``InputError`` under ``field``."""
    word = part.strip().lower() if isinstance(part, str) else ""
    if word not in YES | NO:
        raise InputError({field: _("Use true or false.")})
    return word in YES
