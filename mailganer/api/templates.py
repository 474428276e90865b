"""Email templates."""

from contextlib import suppress
from typing import Any

from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import select

from ..campaigns import templates as verbs
from ..db import utcnow
from ..errors import EmailError
from ..models import Template
from .paging import newest_first, page
from .serializers import Shape, template_shape
from .view import api_view


def shape(template: Template) -> Shape:
    with suppress(EmailError):  # an unfinished template has no variables yet, and the check shows why
        return template_shape(template, verbs.variables_of(template))
    return template_shape(template, ())


@api_view("api.templates", "GET")
def templates(request: Request) -> dict[str, Any]:
    own = select(Template).where(Template.account_id == request.context.account.id)
    found, following = newest_first(request, own, Template.id)
    verbs.cache_variables(request.dbsession, found)
    return page(found, following, shape)


@api_view("api.templates", "POST")
def create_template(request: Request) -> Shape:
    body = request.openapi_validated.body
    names: tuple[str, ...] = ()
    with suppress(EmailError):
        # Before anything is written: a request with an Idempotency-Key must be done in one transaction.
        names = verbs.names_of(request.dbsession, verbs.checked_source(**body), request.context.account.id)
    template = verbs.create_template(request.dbsession, request.context.account, now=utcnow(), **body)
    request.response.status = 201
    return template_shape(template, names)


@api_view("api.template", "GET")
def template(request: Request) -> Shape:
    return shape(request.context.template)


@api_view("api.template", "PATCH")
def change_template(request: Request) -> Shape:
    return shape(
        verbs.update_template(
            request.dbsession, request.context.template, request.openapi_validated.body, utcnow()
        )
    )


@api_view("api.template", "DELETE")
def delete_template(request: Request) -> Response:
    verbs.delete_template(request.dbsession, request.context.template)
    return Response(status=204)
