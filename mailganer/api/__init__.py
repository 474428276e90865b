"""JSON API under ``/api/v1``: the functions of the pages for programs.

``openapi.yaml`` is the contract: routes are registered from it, and requests and responses are validated
against it. A view reads the request, calls one function of the domain, and serializes the result, as page
views do.
"""

from datetime import UTC, date, datetime
from enum import StrEnum
from importlib.resources import files

from pyramid.config import Configurator
from pyramid.renderers import JSON

from . import document, request_parsing

SPEC = str(files(__name__) / "openapi.yaml")
PREFIX = "/api/v1"


def includeme(config: Configurator) -> None:
    config.add_renderer("api", _renderer())
    config.include("pyramid_openapi3")
    for kind in ("application/json", "application/problem+json"):
        config.pyramid_openapi3_add_deserializer(kind, request_parsing.read_json)
    document.register(config, SPEC, f"{PREFIX}/openapi.yaml")
    config.pyramid_openapi3_register_routes(route_prefix=PREFIX)
    config.add_route("api.openapi", f"{PREFIX}/openapi.json")
    config.include(".wrappers")
    config.scan(__name__)


def _renderer() -> JSON:
    renderer = JSON(ensure_ascii=False)
    renderer.add_adapter(datetime, lambda value, request: value.astimezone(UTC).isoformat())
    renderer.add_adapter(date, lambda value, request: value.isoformat())
    renderer.add_adapter(StrEnum, lambda value, request: value.value)
    return renderer
