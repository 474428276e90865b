"""Available backends and the JSON Schema of their settings, for signing in and adding senders."""

from typing import Any

from pyramid.request import Request

from .. import web
from ..backends import Backend, settings_schema
from .serializers import Shape
from .view import api_view


@api_view("api.backends", "GET", permission=web.PUBLIC)
def backends(request: Request) -> dict[str, Any]:
    return {"items": [_shape(backend) for backend in request.registry["backends"].types], "next": None}


def _shape(backend: type[Backend]) -> Shape:
    limits = backend.limits
    return {
        "name": backend.name,
        "title": str(backend.title),
        "domains": sorted(backend.domains),
        "limits": {
            "per_day": limits.per_day,
            "per_second": limits.per_second,
            "max_connections": limits.max_connections,
            "per_connection": limits.per_connection,
        },
        "settings": settings_schema(backend.Settings),
    }
