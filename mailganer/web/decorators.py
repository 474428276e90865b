"""Typed decorators that declare views and event subscribers: a decorated function keeps its type."""

from collections.abc import Callable
from typing import Any, TypeVar

from pyramid import events, view

Function = TypeVar("Function", bound=Callable[..., Any])


def view_config(**options: Any) -> Callable[[Function], Function]:
    """Declare a view, like ``pyramid.view.view_config``."""
    return _kept(view.view_config(**options, _depth=1))


def exception_view_config(*context: type[Exception], **options: Any) -> Callable[[Function], Function]:
    """Declare the view of an exception, like ``pyramid.view.exception_view_config``."""
    return _kept(view.exception_view_config(*context, **options, _depth=1))


def notfound_view_config(**options: Any) -> Callable[[Function], Function]:
    """Declare the view of unknown addresses, like ``pyramid.view.notfound_view_config``."""
    return _kept(view.notfound_view_config(**options, _depth=1))


def forbidden_view_config(**options: Any) -> Callable[[Function], Function]:
    """Declare the view of refused requests, like ``pyramid.view.forbidden_view_config``."""
    return _kept(view.forbidden_view_config(**options, _depth=1))


def subscriber(*classes: type) -> Callable[[Function], Function]:
    """Declare a function that is called with each event, like ``pyramid.events.subscriber``."""
    return _kept(events.subscriber(*classes, _depth=1))


def _kept(attach: Callable[[Function], object]) -> Callable[[Function], Function]:
    """Return a decorator that attaches a declaration for ``config.scan`` and returns the function unchanged.

    Its frame is the one more that ``_depth=1`` counts.
    """

    def decorate(function: Function) -> Function:
        attach(function)
        return function

    return decorate
