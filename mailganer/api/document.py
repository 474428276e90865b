"""The OpenAPI document itself."""

from pyramid.request import Request
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.view import view_config


@view_config(route_name="api.openapi", renderer="json", permission=NO_PERMISSION_REQUIRED)
def openapi(request: Request) -> dict[str, object]:
    return request.registry.settings["pyramid_openapi3"]["spec"].read_value()
