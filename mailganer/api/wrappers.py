"""What every API request passes through, outermost first. The order stands here and nowhere else.

1. ``head_tween``: a HEAD becomes a GET, after the request counter has seen it.
2. pyramid_openapi3's tween: a response that does not match the document is an error of ours.
3. The wrappers of :func:`wrappers`.
4. pyramid_openapi3's view deriver: the request is validated against the document.
5. ``without_read_only``: read-only fields of the validated body are dropped.
"""

from pyramid.config import Configurator

from .idempotency import answer_once
from .request_parsing import (
    Wrapper,
    only_json,
    only_known_parameters,
    read_form_first,
    without_blanks,
    without_read_only,
)

__all__ = ["wrappers"]


def includeme(config: Configurator) -> None:
    """Register 1 and 5. Include this after ``pyramid_openapi3``."""
    config.add_tween(
        "mailganer.api.allowed_methods.head_tween",
        under="mailganer.web.health.metrics_tween",
        over="pyramid_openapi3.tween.response_tween_factory",
    )
    config.add_view_deriver(without_read_only, under="openapi_view")


def wrappers(method: str, *, checked: bool, once: bool) -> tuple[Wrapper, ...]:
    """Return the wrappers of a view: its parameters, then its body, then the idempotency key."""
    found: tuple[Wrapper, ...] = (only_known_parameters,)
    found += (without_blanks, only_json) if checked else (read_form_first,)
    return (*found, answer_once) if method == "POST" and once else found
