"""The same verbs as JSON, under ``/api/v1``.

``openapi.yaml`` is the contract: routes are registered from it, and requests and responses are checked
against it. A view here is like a view there: it reads the request, calls one verb, answers.
"""

import json
from datetime import UTC, date, datetime
from enum import StrEnum
from importlib.resources import files
from typing import Any

from pyramid.config import Configurator
from pyramid.renderers import JSON

from ..errors import InputError, _

SPEC = str(files(__name__) / "openapi.yaml")
PREFIX = "/api/v1"


def includeme(config: Configurator) -> None:
    config.add_renderer("api", _renderer())
    config.include("pyramid_openapi3")
    for kind in ("application/json", "application/problem+json"):
        config.pyramid_openapi3_add_deserializer(kind, _loads)
    config.pyramid_openapi3_spec(SPEC, route=f"{PREFIX}/openapi.yaml")
    config.pyramid_openapi3_register_routes(route_prefix=PREFIX)
    config.add_route("api.openapi", f"{PREFIX}/openapi.json")
    config.scan(__name__)


def _loads(body: bytes | str) -> Any:
    """Our own error, because the validator's cannot print bytes that are no UTF-8."""
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()  # half a character (\ud800) cannot be stored
    except (ValueError, RecursionError) as error:
        raise InputError({"body": _("This is no JSON that we can read.")}) from error
    return value


def _renderer() -> JSON:
    renderer = JSON(ensure_ascii=False)
    renderer.add_adapter(datetime, lambda value, request: value.astimezone(UTC).isoformat())
    renderer.add_adapter(date, lambda value, request: value.isoformat())
    renderer.add_adapter(StrEnum, lambda value, request: value.value)
    return renderer
