"""Errors as RFC 9457 problem documents. ``detail`` contains what failed and what to do."""

import secrets
from typing import Any

import structlog
from pyramid.exceptions import PredicateMismatch
from pyramid.httpexceptions import HTTPException, HTTPRequestEntityTooLarge
from pyramid.request import Request
from pyramid.response import Response
from pyramid_openapi3.exceptions import RequestValidationError, ResponseValidationError
from sqlalchemy.orm.exc import ObjectDeletedError

from .. import errors
from ..db import DATABASE, OUT_OF_REACH, trouble_of
from ..web.decorators import exception_view_config, forbidden_view_config, notfound_view_config
from ..web.error_status import RETRY_AFTER, status_of, without_database
from .allowed_methods import allowed
from .request_parsing import LARGEST_JSON
from .serializers import iso_time
from .validation_errors import findings, is_of_another_kind, is_unsigned

log = structlog.get_logger()
API = r"^/api/"
SIGN_IN_FIRST = errors._("Authentication required. Send the token as Authorization: Bearer TOKEN.")
INVALID_FIELDS = errors._("Some fields are not valid.")

# The phrases of RFC 9110; those of ``http.HTTPStatus`` depend on the version of Python.
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}

SENTENCES = {
    400: errors._("The request cannot be read: its form data is malformed."),
    404: errors.NotFound().message,
    405: errors._("This URL does not support this method. The Allow header lists the supported methods."),
    413: errors._("The JSON body is larger than ${most} MB.", mapping={"most": LARGEST_JSON // 1_000_000}),
    415: errors._(
        "This Content-Type is not supported here. See the OpenAPI document for the supported types."
    ),
}


def problem(request: Request, status: int, detail: str, **more: Any) -> Response:
    """Return a problem document. ``detail`` and messages are translated here."""
    body = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": words(request, detail),
        **{key: value for key, value in more.items() if value is not None},
    }
    response = Response(
        json_body=body, status=status, content_type="application/problem+json", charset="utf-8"
    )
    if "retry_after" in body:
        response.headers["Retry-After"] = str(body["retry_after"])
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def words(request: Request, text: str) -> str:
    """Translate a sentence into the language of the request."""
    return str(request.translate(text))


# Page views for exact exception classes win over a view for a base class, so list them again here.
@exception_view_config(errors.NotFound, path_info=API)
@exception_view_config(errors.MailganerError, path_info=API)
def domain_error(error: errors.MailganerError, request: Request) -> Response:
    evidence = _evidence(request, error)
    detail = error.message
    if isinstance(error, errors.InputError):
        detail = " ".join(each["message"] for each in evidence["errors"])
    return problem(request, status_of(error), detail, **evidence)


@exception_view_config(ObjectDeletedError, path_info=API)
def deleted_concurrently(error: ObjectDeletedError, request: Request) -> Response:
    """Return 404: the campaign was deleted while its email was rendered outside the transaction."""
    return domain_error(errors.NotFound(), request)


def _evidence(request: Request, error: errors.MailganerError) -> dict[str, Any]:
    match error:
        case errors.InputError():
            return {"errors": [_field(request, field, text) for field, text in error.fields.items()]}
        case errors.EmailError():
            return {"errors": [_field(request, error.field, error.message)]}
        case errors.NotReady():
            return {"problems": [check_problem(request, found) for found in error.problems]}
        case errors.LimitReached():
            return {"frees_at": iso_time(error.frees_at)}
        case errors.Throttled():
            return {"retry_after": error.retry_after}
        case errors.FileRefused():
            return {"errors": [_field(request, "file", error.message)]}
        case errors.BackendMissing():
            return {"errors": [_field(request, "backend", error.message)]}
        case errors.HostForbidden():
            return {"errors": [_field(request, error.field, error.message)], "reply": error.reply or None}
        case errors.BackendError():
            return {"reply": error.reply or None}
    return {}


def check_problem(request: Request, found: Any) -> dict[str, Any]:
    return {"code": found.code, "message": words(request, found.message), "blocking": found.blocking}


def _field(request: Request, field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": words(request, message)}


@exception_view_config(RequestValidationError, path_info=API)
def wrong_request(error: RequestValidationError, request: Request) -> Response:
    if is_unsigned(error.errors):
        return problem(request, 401, SIGN_IN_FIRST)
    if is_of_another_kind(error.errors):
        return problem(request, 415, SENTENCES[415])
    fields = [_field(request, *found) for found in findings(error.errors).items()]
    return problem(request, 422, INVALID_FIELDS, errors=fields)


@notfound_view_config(path_info=API)
@forbidden_view_config(path_info=API)
@exception_view_config(HTTPRequestEntityTooLarge, path_info=API)
@exception_view_config(HTTPException, path_info=API)
def http_error(request: Request) -> Response:
    error: HTTPException = request.exception
    if error.status_int < 400:
        return error
    if error.status_int == 403 and request.account is None:
        return problem(request, 401, SIGN_IN_FIRST)
    if isinstance(error, PredicateMismatch) and request.matched_route:
        return _wrong_method(request)
    sentence = _too_large(request) if error.status_int == 413 else SENTENCES.get(error.status_int)
    sentence = sentence or error.explanation or error.title
    return problem(request, error.status_int, sentence)


def _too_large(request: Request) -> str:
    route = request.matched_route.name if request.matched_route else ""
    if route == "api.login":
        return errors._("The request body is larger than 1 MB.")
    if route == "api.imports":
        return errors._("The form is larger than 512 MB or has more than 1,000 fields.")
    return SENTENCES[413]


def _wrong_method(request: Request) -> Response:
    response = problem(request, 405, SENTENCES[405])
    response.headers["Allow"] = allowed(request)
    return response


def database_unavailable(error: Exception, request: Request) -> Response:
    """Return 503, as pages do: the database is unreachable, full or busy, which is temporary."""
    DATABASE.began(log, "api.database", path=request.path, method=request.method, trouble=trouble_of(error))
    without_database(request, error)
    sentence = errors._(
        "Mailganer cannot access its data right now. Try again soon. With an "
        "Idempotency-Key, nothing is done twice."
    )
    return problem(request, 503, sentence, retry_after=RETRY_AFTER)


for _kind in OUT_OF_REACH:
    exception_view_config(_kind, path_info=API)(database_unavailable)


@exception_view_config(OSError, path_info=API)
def file_error(error: OSError, request: Request) -> Response:
    if not errors.is_full(error):
        return internal_error(error, request)
    log.warning("api.no_room", path=request.path, method=request.method, trouble=str(error))
    return domain_error(errors.NoRoom(), request)


@exception_view_config(ResponseValidationError, path_info=API)
@exception_view_config(Exception, path_info=API)
def internal_error(error: Exception, request: Request) -> Response:
    number = secrets.token_hex(4)
    log.error("api.broken", number=number, path=request.path, method=request.method, exc_info=error)
    without_database(request, error)
    sentence = errors._(
        "Internal error. Nothing was changed. Report error number ${number} to the operator.",
        mapping={"number": number},
    )
    return problem(request, 500, sentence)
