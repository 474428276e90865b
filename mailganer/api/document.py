"""The OpenAPI document, and queries on it."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from jsonschema_path import SchemaPath
from openapi_core import V31RequestUnmarshaller, V31ResponseValidator
from pyramid.config import PHASE0_CONFIG, Configurator
from pyramid.request import Request
from pyramid.response import FileResponse
from pyramid.security import NO_PERMISSION_REQUIRED

from mailganer.i18n.languages import language_names

from ..web.decorators import view_config

METHODS = ("get", "post", "patch", "delete")
API = "pyramid_openapi3"  # the name under which pyramid_openapi3 keeps the document's settings


def register(config: Configurator, path: str, route: str) -> None:
    """Register the document ``path`` and serve it at ``route``, like ``config.pyramid_openapi3_spec``.

    Unlike that directive, this does not validate the document against the OpenAPI standard, which takes a
    fifth of the start time of a web process. The tests validate it.
    """

    def add() -> None:
        settings = config.registry.settings
        read_as = settings.get("pyramid_openapi3_deserializers")
        spec = _read(path)
        settings[API] = {
            "filepath": path,
            "spec_route_name": f"{API}.spec",
            "spec": spec,
            "request_validator": V31RequestUnmarshaller(spec, extra_media_type_deserializers=read_as),
            "response_validator": V31ResponseValidator(spec, extra_media_type_deserializers=read_as),
        }
        settings.setdefault("pyramid_openapi3_apinames", []).append(API)
        config.add_route(f"{API}.spec", route)
        config.add_view(_serve(path), route_name=f"{API}.spec", permission=NO_PERMISSION_REQUIRED)

    config.action((f"{API}_spec",), add, order=PHASE0_CONFIG)


def _read(path: str) -> SchemaPath:
    return SchemaPath.from_file_path(path)


def _serve(path: str) -> Callable[[Request], FileResponse]:
    return lambda request: FileResponse(path, request=request, content_type="text/yaml")


@view_config(
    route_name="api.openapi", request_method="GET", renderer="json", permission=NO_PERMISSION_REQUIRED
)
def published(request: Request) -> dict[str, Any]:
    """Return the document with the languages of this installation as an enum.

    They are not added to the document that requests are validated against: the error message of a campaign's
    language is clearer than one about an enum.
    """
    document = deepcopy(openapi(request))
    locale = document["components"]["schemas"]["CampaignChanges"]["properties"]["locale"]
    locale["enum"] = [code for code, _name in language_names()]
    return document


def openapi(request: Request) -> dict[str, Any]:
    """Return the document as it is written."""
    document: dict[str, Any] = request.registry.settings[API]["spec"].read_value()
    return document


def operations(request: Request) -> dict[str, Mapping[str, Any]]:
    """Return the operations of the requested path by method; {} for paths that are not in the document."""
    name = request.matched_route.name
    paths = openapi(request)["paths"].values()
    item: Mapping[str, Any] = next((each for each in paths if each["x-pyramid-route-name"] == name), {})
    return {method.upper(): item[method] for method in METHODS if method in item}


def query_parameters(request: Request) -> frozenset[str]:
    """Return the names of the query parameters that the requested path takes with this method."""
    document = openapi(request)
    name = request.matched_route.name
    items = (each for each in document["paths"].values() if each["x-pyramid-route-name"] == name)
    item: Mapping[str, Any] = next(items, {})
    given = [*item.get("parameters", ()), *item.get(request.method.lower(), {}).get("parameters", ())]
    known = document["components"]["parameters"]
    found = [known[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in given]
    return frozenset(each["name"] for each in found if each["in"] == "query")


def read_only(request: Request) -> frozenset[str]:
    """Return the read-only fields of the JSON body: they appear in responses and are ignored in requests."""
    body = operations(request).get(request.method, {}).get("requestBody", {})
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = openapi(request)["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return frozenset(name for name, each in schema.get("properties", {}).items() if each.get("readOnly"))
