"""HTTP statuses of domain errors, for pages and API."""

from pyramid.request import Request
from pyramid_retry import mark_error_retryable

from ..db import is_serialization_failure
from ..errors import (
    AccountBusy,
    BackendError,
    BackendMissing,
    Busy,
    Conflict,
    EmailError,
    FileRefused,
    HostForbidden,
    InputError,
    LimitReached,
    LoginRefused,
    MailganerError,
    MalformedBody,
    NoRoom,
    NotFound,
    SecretUnreadable,
    SenderRefused,
    Throttled,
)

RETRY_AFTER = 30  # seconds until a retry makes sense: a restarted database is back by then

# The first match counts, so narrower classes come first.
STATUSES: tuple[tuple[type[MailganerError], int], ...] = (
    (LoginRefused, 401),
    (SenderRefused, 401),
    (BackendMissing, 422),
    (HostForbidden, 422),
    (NotFound, 404),
    (Conflict, 409),
    (LimitReached, 409),
    (SecretUnreadable, 409),
    (MalformedBody, 400),
    (InputError, 422),
    (EmailError, 422),
    (FileRefused, 422),
    (NoRoom, 507),
    (AccountBusy, 429),
    (Busy, 503),
    (Throttled, 429),
    (BackendError, 502),
)


def status_of(error: MailganerError) -> int:
    """Return the HTTP status of a domain error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 400)


def without_database(request: Request, error: Exception) -> None:
    """Prepare the request for an error response that does not use the database.

    Mark the error as retryable when the transaction lost a conflict: for an error at COMMIT nothing else
    does.
    """
    request.account = request.viewer = None
    if is_serialization_failure(error):
        mark_error_retryable(error)
