"""The health check of this machine's web part."""

import http.client
from typing import TYPE_CHECKING

from .common import split_address

if TYPE_CHECKING:
    from ..settings import Settings

EVERYWHERE = {"*", "0.0.0.0", ""}  # noqa: S104 - compared with, not bound to


def web_status(settings: "Settings", timeout: float = 5) -> int | None:
    """Return the status of the health check of this machine's web part; None when it does not respond."""
    host, port = split_address(settings.listen)
    connection = http.client.HTTPConnection(
        "127.0.0.1" if host in EVERYWHERE else host, port, timeout=timeout
    )
    try:
        connection.request("GET", "/healthz?part=web")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer.status
