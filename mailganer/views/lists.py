"""List pages: all lists with their counts, and one list with its subscribers."""

from dataclasses import dataclass, replace
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional

from mailganer import audience
from mailganer.db import utcnow
from mailganer.errors import Conflict, _
from mailganer.models import SubscriberList, SubscriberStatus

from ..web.decorators import view_config
from .forms import Form
from .subscribers import SubscriberQuery, found


class ListForm(Form):
    name = StringField(
        _("Name"),
        [InputRequired(_("Enter a name for the list.")), Length(max=200)],
        render_kw={"autocomplete": "off"},
    )
    description = TextAreaField(
        _("Description"),
        [Optional(), Length(max=2000)],
        description=_("Visible only to you."),
        render_kw={"rows": 3},
    )


@dataclass(frozen=True)
class ListRow:
    """A list with its subscribers by status."""

    list: SubscriberList
    counts: dict[SubscriberStatus, int]

    @property
    def active(self) -> int:
        return self.counts[SubscriberStatus.active]

    @property
    def silent(self) -> int:
        """Return the number of subscribers on the list who get no emails."""
        return sum(self.counts.values()) - self.active


@view_config(route_name="lists", renderer="lists/all.jinja2")
def lists(request: Request) -> dict[str, Any]:
    rows = audience.lists_of(request.dbsession, request.context.account.id)
    counts = audience.list_counts(request.dbsession, [row.id for row in rows])
    return {"lines": [ListRow(row, counts[row.id]) for row in rows]}


@view_config(route_name="lists.new", renderer="lists/edit.jinja2")
def add(request: Request) -> Any:
    form = ListForm.of(request)
    if request.method == "POST" and form.validate():
        made = form.attempt(
            lambda: audience.create_list(
                request.dbsession,
                request.context.account.id,
                **form.texts("name", "description"),
                now=utcnow(),
            )
        )
        if made:
            return HTTPSeeOther(request.route_path("list", id=made.id))
    return {"form": form, "list": None}


@view_config(route_name="list", renderer="lists/one.jinja2")
def one(request: Request) -> dict[str, Any]:
    row = request.context.list
    search = replace(SubscriberQuery.of(request), list_id=row.id)
    return {
        "line": ListRow(row, audience.list_counts(request.dbsession, [row.id])[row.id]),
        "search": search,
        "page": found(request, search),
        "statuses": tuple(SubscriberStatus),
    }


@view_config(route_name="list.edit", renderer="lists/edit.jinja2")
def change(request: Request) -> Any:
    row = request.context.list
    form = ListForm.of(request, row)
    if request.method == "POST" and form.validate():
        changed = form.attempt(
            lambda: audience.rename_list(request.dbsession, row, **form.texts("name", "description"))
        )
        if changed:
            request.flash(_("Saved."))
            return HTTPSeeOther(request.route_path("list", id=row.id))
    return {"form": form, "list": row}


@view_config(route_name="list.delete", request_method="POST")
def delete(request: Request) -> Response:
    row = request.context.list
    try:
        audience.delete_list(request.dbsession, row)
    except Conflict as error:
        request.flash(error.message, "wait")
        return HTTPSeeOther(request.route_path("list", id=row.id))
    request.flash(_("List deleted. Its subscribers were kept."))
    return HTTPSeeOther(request.route_path("lists"))
