"""Declaration of API views."""

from collections.abc import Callable
from typing import Any

from ..web.decorators import Function, view_config
from .wrappers import wrappers


def api_view(
    route: str, method: str, *, checked: bool = True, once: bool = True, **options: Any
) -> Callable[[Function], Function]:
    """Declare an API view.

    ``checked=False`` turns validation off, only for bodies that must not be read into memory. ``once=False``
    turns idempotency keys off, only for responses that must not be stored.
    """
    # Browsers never send bearer tokens on their own, so CSRF is impossible.
    return view_config(
        route_name=route,
        request_method=method,
        renderer="api",
        openapi=checked,
        require_csrf=False,
        decorator=wrappers(method, checked=checked, once=once),
        **options,
    )
