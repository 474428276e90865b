"""The OpenAPI document itself, and what the rest of the API asks of it."""

from collections.abc import Mapping
from typing import Any

from pyramid.request import Request
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.view import view_config

METHODS = ("get", "post", "patch", "delete")


@view_config(
    route_name="api.openapi", request_method="GET", renderer="json", permission=NO_PERMISSION_REQUIRED
)
def openapi(request: Request) -> dict[str, Any]:
    document: dict[str, Any] = request.registry.settings["pyramid_openapi3"]["spec"].read_value()
    return document


def operations(request: Request) -> dict[str, Mapping[str, Any]]:
    """Of the address that was asked for: its operations, by method; none for what the document leaves out."""
    name = request.matched_route.name
    paths = openapi(request)["paths"].values()
    item: Mapping[str, Any] = next((each for each in paths if each["x-pyramid-route-name"] == name), {})
    return {method.upper(): item[method] for method in METHODS if method in item}


def query_parameters(request: Request) -> frozenset[str]:
    """Names of the query parameters that the address that was asked for takes with this method."""
    document = openapi(request)
    name = request.matched_route.name
    items = (each for each in document["paths"].values() if each["x-pyramid-route-name"] == name)
    item: Mapping[str, Any] = next(items, {})
    given = [*item.get("parameters", ()), *item.get(request.method.lower(), {}).get("parameters", ())]
    known = document["components"]["parameters"]
    found = [known[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in given]
    return frozenset(each["name"] for each in found if each["in"] == "query")


def read_only(request: Request) -> frozenset[str]:
    """Names of a JSON body that are answered, and taken back without being looked at."""
    body = operations(request).get(request.method, {}).get("requestBody", {})
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = openapi(request)["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return frozenset(name for name, each in schema.get("properties", {}).items() if each.get("readOnly"))
