"""Pages for the frame of an email that cannot be shown."""

from markupsafe import escape
from pyramid.request import Request
from pyramid.response import Response

from mailganer.errors import Busy, EmailError, _
from mailganer.web import email_response

from ..web.error_status import status_of


def broken_email(request: Request, error: EmailError) -> str:
    """Return a page for the frame of an email that cannot be rendered."""
    line = _("Line ${line}.", mapping={"line": error.line}) if error.line else ""
    words = [
        request.translate(_("This email cannot be previewed yet.")),
        request.translate(error.message),
        request.translate(line),
    ]
    return frame_note(" ".join(word for word in words if word))


def busy_email(request: Request, error: Busy) -> Response:
    """Return a page for the frame of an email that has to wait: other pages may not be framed."""
    response = email_response(request, frame_note(request.translate(error.message)))
    response.status_int = status_of(error)
    response.headers["Retry-After"] = str(error.retry_after)
    return response


def frame_note(text: str) -> str:
    """Return a page that shows this text."""
    return (
        '<meta name="color-scheme" content="light dark">'
        f'<body style="margin:32px;font:24px/1.5 sans-serif;opacity:.8">{escape(text)}'
    )
