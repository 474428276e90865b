"""OpenAPI validation errors as fields and messages for API clients."""

from collections.abc import Iterable, Iterator, Sequence

from jsonschema import ValidationError
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.media_types.exceptions import MediaTypeNotFound
from openapi_core.validation.request.exceptions import MissingRequestBodyError, SecurityValidationError

from ..errors import _

BODY = "body"
MOST = 100  # errors in one response
LONGEST_FIELD = 200  # characters; names made up by clients can have any length
MISSING = _("This field is required.")
KINDS = {
    "string": _("Enter text."),
    "integer": _("Enter a whole number."),
    "number": _("Enter a number."),
    "boolean": _("Use true or false."),
    "array": _("Enter a list."),
    "object": _("Enter an object."),
}
FORMATS = {
    "date": _("Enter a date such as 1990-05-14."),
    "date-time": _("Enter a date and time with an offset, such as 2026-12-04T10:00:00+03:00."),
}


def is_unsigned(errors: Iterable[Exception]) -> bool:
    """Return whether the request has no token."""
    return any(isinstance(error, SecurityValidationError) for error in errors)


def is_of_another_kind(errors: Iterable[Exception]) -> bool:
    """Return whether the Content-Type of the body is not supported."""
    return any(isinstance(error.__cause__, MediaTypeNotFound) for error in errors)


def findings(errors: Iterable[Exception]) -> dict[str, str]:
    """Return messages by field. A nested field is written ``hours/from``; the whole body is ``body``."""
    found: dict[str, str] = {}
    for error in errors:
        for field, sentence in _of(error):
            if len(found) == MOST:
                return found
            found.setdefault(field[:LONGEST_FIELD], sentence)
    return found


def _of(error: Exception) -> Iterator[tuple[str, str]]:
    name = getattr(error, "name", "")  # of the parameter, if it is one
    flaws = getattr(error.__cause__, "schema_errors", None)
    if flaws is not None:
        for flaw in flaws:
            yield from _in_schema(flaw, name)
    elif isinstance(error, MissingRequestBodyError):
        yield BODY, _("The request needs a JSON body.")
    elif isinstance(error, OpenAPIError) and name:
        yield name, _("The value is not valid.")
    else:
        yield BODY, _("The value is not valid: ${reason}.", mapping={"reason": str(error)[:200]})


def _in_schema(flaw: ValidationError, name: str) -> Iterator[tuple[str, str]]:
    path = [name] if name else []
    path += [str(part) for part in flaw.absolute_path]
    if flaw.validator == "required":
        for each in flaw.validator_value:
            if each not in flaw.instance:
                yield "/".join([*path, each]), MISSING
    elif flaw.validator == "additionalProperties":
        for each in flaw.instance:
            if each not in flaw.schema.get("properties", {}):
                yield "/".join([*path, each]), _("Unknown field.")
    else:
        yield "/".join(path) or BODY, _sentence(flaw)


def _sentence(flaw: ValidationError) -> str:
    wanted = flaw.validator_value
    match flaw.validator:
        case "type":
            return _of_types([wanted] if isinstance(wanted, str) else wanted)
        case "enum":
            return _("Choose one of: ${choices}.", mapping={"choices": ", ".join(map(str, wanted))})
        case "minimum":
            return _("The number must be ${limit} or more.", mapping={"limit": wanted})
        case "maximum":
            return _("The number must be ${limit} or less.", mapping={"limit": wanted})
        case "exclusiveMinimum" | "exclusiveMaximum":
            return _("The number is out of range.")
        case "maxLength":
            return _(
                "The value is too long. The maximum is ${longest} characters.", mapping={"longest": wanted}
            )
        case "maxItems":
            return _("Too many values. The maximum is ${most}.", mapping={"most": wanted})
        case "minLength" | "minItems":
            return _("This field is required.")
        case "uniqueItems":
            return _("The list contains duplicates.")
        case "format":
            return FORMATS.get(wanted, _("The value is not valid."))
    return _("The value is not valid.")


def _of_types(wanted: Sequence[str]) -> str:
    kinds = [kind for kind in wanted if kind != "null"]
    if set(kinds) == {"string", "number", "boolean"}:
        return _("Enter text, a number, true, false or null.")
    if set(kinds) == {"string", "number"}:
        return _("Enter text or a number.")
    return KINDS[kinds[0]]
