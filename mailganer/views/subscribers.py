"""Subscriber pages: list, one subscriber, adding and editing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response
from sqlalchemy import Row, select
from sqlalchemy.orm import Session
from wtforms import SelectMultipleField, StringField
from wtforms.validators import InputRequired, Length, Optional
from wtforms.widgets import CheckboxInput, ListWidget

from mailganer import audience
from mailganer.audience.fields import STANDARD, field_text, typed_as
from mailganer.audience.subscribers import STOPPED
from mailganer.db import utcnow
from mailganer.errors import Conflict, InputError, LimitReached, _
from mailganer.models import (
    Campaign,
    CampaignStatus,
    Delivery,
    Subscriber,
    SubscriberList,
    SubscriberStatus,
    owned,
)
from mailganer.reports import delivery_sentence

from ..web.decorators import view_config
from .forms import Form, choices, number_of

PER_PAGE = 50
EMAILS_SHOWN = 50
CAMPAIGNS_SHOWN = 200  # older campaigns are reached through their own report


# The browser should not fill in the user's own name and address.
_NOT_ONES_OWN = {"autocomplete": "off"}


class SubscriberForm(Form):
    email = StringField(
        _("Email address"),
        [InputRequired(_("Use the format name@example.com."))],
        render_kw={**_NOT_ONES_OWN, "inputmode": "email", "spellcheck": "false"},
    )
    first_name = StringField(_("First name"), [Optional(), Length(max=200)], render_kw=_NOT_ONES_OWN)
    last_name = StringField(_("Last name"), [Optional(), Length(max=200)], render_kw=_NOT_ONES_OWN)
    birthday = StringField(
        _("Birthday"),
        [Optional()],
        description=_("For example, 1990-05-14 or 14.05.1990. Without a year: 14.05."),
        render_kw=_NOT_ONES_OWN,
    )
    lists = SelectMultipleField(
        _("Lists"), coerce=int, widget=ListWidget(prefix_label=False), option_widget=CheckboxInput()
    )


@dataclass(frozen=True)
class SubscriberQuery:
    """Search of subscribers, as in the URLs of its pages."""

    query: str = ""
    status: SubscriberStatus | None = None
    list_id: int | None = None
    after: int | None = None

    @classmethod
    def of(cls, request: Request, list_id: int | None = None) -> "SubscriberQuery":
        return cls(
            request.GET.get("query", "").strip()[:200],
            status_of_word(request.GET.get("status")),
            list_id or number_of(request.GET.get("list")),
            number_of(request.GET.get("after")),
        )

    def parameters(self, **changes: Any) -> dict[str, Any]:
        """Return the query parameters for another page of the same search."""
        filters = {"query": self.query, "status": self.status and self.status.value, "list": self.list_id}
        return {name: value for name, value in (filters | changes).items() if value}


@view_config(route_name="subscribers", renderer="subscribers/list.jinja2")
def list_subscribers(request: Request) -> dict[str, Any]:
    """List subscribers, newest first; ``?query=``, ``?status=``, ``?list=`` filter."""
    session, account_id = request.dbsession, request.context.account.id
    search = SubscriberQuery.of(request)
    page = found(request, search)
    all_found = page.next is None and search.after is None and search.status is None
    return {
        "search": search,
        "page": page,
        "by_status": audience.status_counts(session, account_id),
        "found": audience.FoundCounts.of(page.items)
        if all_found
        else audience.found_counts(session, account_id, search.query, search.list_id),
        "lists": audience.lists_of(session, account_id),
    }


@view_config(route_name="subscribers.csv")
def download(request: Request) -> Response:
    search = SubscriberQuery.of(request)
    content = audience.subscribers_csv(
        request.registry["readers"],
        request.context.account.id,
        query=search.query,
        status=search.status,
        list_id=search.list_id,
    )
    return csv_response(content, "people.csv")


@view_config(route_name="subscribers.new", renderer="subscribers/edit.jinja2")
def add(request: Request) -> Any:
    form = _form(request, lists=_asked_lists(request))
    if request.method == "POST" and form.validate():
        try:
            added = form.attempt(lambda: _add(request, form))
        except (Conflict, LimitReached) as error:
            request.response.status_int = 409
            return _edit_page(request, None, form, error)
        if added:
            request.flash(*_added_message(added))
            return HTTPSeeOther(request.route_path("subscriber", id=added.subscriber.id))
    return _edit_page(request, None, form)


@view_config(route_name="subscriber", renderer="subscribers/subscriber.jinja2")
def show_subscriber(request: Request) -> dict[str, Any]:
    row = request.context.subscriber
    return {
        "subscriber": row,
        "name": name_of(row),
        "birthday": _birthday_words(request, row),
        "fields": [(name, field_text(value)) for name, value in row.fields.items()],
        "note": STOPPED.get(row.status),
        "emails": _emails(request, row),
        "campaigns": _campaigns(request),
        "delivery_sentence": delivery_sentence,
    }


@view_config(route_name="subscriber.edit", renderer="subscribers/edit.jinja2")
def change(request: Request) -> Any:
    row = request.context.subscriber
    form = _form(
        request,
        email=row.email,
        first_name=row.first_name,
        last_name=row.last_name,
        birthday=audience.birthday_text(row),
        lists=[lst.id for lst in row.lists],
    )
    if request.method == "POST" and form.validate():
        changed = form.attempt(
            lambda: audience.update_subscriber(
                request.dbsession,
                row,
                {
                    **form.texts("email", "first_name", "last_name", "birthday"),
                    "fields": _typed_fields(request, row),
                    "lists": _lists(request, form),
                },
                utcnow(),
            )
        )
        if changed:
            request.flash(_("Saved."))
            return HTTPSeeOther(request.route_path("subscriber", id=row.id))
    return _edit_page(request, row, form)


@view_config(route_name="subscriber.unsubscribe", request_method="POST")
def unsubscribe(request: Request) -> Response:
    row = request.context.subscriber
    audience.unsubscribe(request.dbsession, row, reason="by hand", now=utcnow())
    request.flash(_("${email} is unsubscribed.", mapping={"email": row.email}))
    return HTTPSeeOther(request.route_path("subscriber", id=row.id))


@view_config(route_name="subscriber.delete", request_method="POST")
def delete(request: Request) -> Response:
    audience.erase_subscriber(request.dbsession, request.context.subscriber)
    request.flash(_("Subscriber deleted."))
    return HTTPSeeOther(request.route_path("subscribers"))


def found(request: Request, search: SubscriberQuery) -> audience.SubscriberPage:
    return audience.search_subscribers(
        request.dbsession,
        request.context.account.id,
        query=search.query,
        status=search.status,
        list_id=search.list_id,
        after=search.after,
        limit=PER_PAGE,
    )


def name_of(row: Subscriber) -> str:
    return f"{row.first_name} {row.last_name}".strip()


def _birthday_words(request: Request, row: Subscriber) -> str:
    """Format a birthday, without the year if unknown."""
    if row.birthday is None:
        return ""
    without_year = row.birthday.year == audience.YEARLESS
    return str(request.localizer.format_date(row.birthday, "d MMMM" if without_year else "d MMMM y"))


def status_of_word(text: str | None) -> SubscriberStatus | None:
    return SubscriberStatus(text) if text in set(SubscriberStatus) else None


def csv_response(content: Iterable[bytes], filename: str) -> Response:
    """Return a streamed CSV download."""
    return Response(
        app_iter=content,
        content_type="text/csv",
        charset="utf-8",
        content_disposition=f'attachment; filename="{filename}"',
    )


def _added_message(added: audience.Added) -> tuple[str, str]:
    if added.note:
        return added.note, "wait"
    mapping = {"email": added.subscriber.email}
    if added.created:
        return _("${email} was added.", mapping=mapping), "good"
    return _("${email} was already a subscriber. Your changes are saved.", mapping=mapping), "good"


def _form(request: Request, **values: Any) -> SubscriberForm:
    own = audience.lists_of(request.dbsession, request.context.account.id)
    form = SubscriberForm.of(request, **values)
    form.lists.choices = choices((lst.id, lst.name) for lst in own)
    return form


def _asked_lists(request: Request) -> list[int]:
    """Return the list the user came from, or the only list of the account."""
    chosen = number_of(request.GET.get("list"))
    own = [lst.id for lst in audience.lists_of(request.dbsession, request.context.account.id)]
    return [chosen] if chosen in own else own if len(own) == 1 else []


def _lists(request: Request, form: SubscriberForm) -> Collection[Any]:
    account_id = request.context.account.id
    return [owned(request.dbsession, SubscriberList, account_id, each) for each in form.lists.data or ()]


def _fields(request: Request) -> dict[str, str]:
    """Return the custom fields of the form: known ones by name, and a new one."""
    fields = {
        key.removeprefix("field."): value for key, value in request.POST.items() if key.startswith("field.")
    }
    name = request.POST.get("new_field", "").strip()
    if name:
        fields[name] = request.POST.get("new_value", "")
    elif request.POST.get("new_value", "").strip():
        raise InputError({"new_field": _("Enter a name for the new field.")})
    return fields


def _typed_fields(request: Request, row: Subscriber) -> dict[str, Any]:
    """Return the fields of the form; an existing number or boolean keeps its type."""
    return {name: typed_as(row.fields.get(name, ""), text) for name, text in _fields(request).items()}


def _add(request: Request, form: SubscriberForm) -> audience.Added:
    return audience.add_subscriber(
        request.dbsession,
        request.context.account,
        **form.texts("email", "first_name", "last_name", "birthday"),
        fields=_fields(request),
        lists=_lists(request, form),
        now=utcnow(),
        settings=request.registry["settings"],
    )


def _edit_page(
    request: Request,
    row: Subscriber | None,
    form: SubscriberForm,
    error: Conflict | LimitReached | None = None,
) -> dict[str, Any]:
    known = audience.known_fields(request.dbsession, request.context.account.id)
    posted = {key: value for key, value in request.POST.items() if key.startswith(("field.", "new_"))}
    if form.errors or form.form_errors:
        request.response.status_int = 422
    return {
        "subscriber": row,
        "name": name_of(row) if row else "",
        "form": form,
        "error": error,
        "fields": _field_values(row, (field.name for field in known if field.name not in STANDARD), posted),
        "new_field": posted.get("new_field", ""),
        "new_value": posted.get("new_value", ""),
        "back": request.route_path("subscriber", id=row.id) if row else request.route_path("subscribers"),
    }


def _field_values(
    row: Subscriber | None, names: Iterable[str], posted: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return every field known in this account with this subscriber's value."""
    own = row.fields if row else {}
    together = {**dict.fromkeys(names, ""), **own}
    return [(name, posted.get(f"field.{name}", field_text(value))) for name, value in together.items()]


def _campaigns(request: Request) -> Sequence[Row[int, str, str, CampaignStatus, str | None]]:
    """Return recent campaigns to explain, newest first, without their content."""
    session: Session = request.dbsession
    return session.execute(
        select(Campaign.id, Campaign.name, Campaign.subject, Campaign.status, Campaign.paused_reason)
        .where(Campaign.account_id == request.context.account.id)
        .order_by(Campaign.id.desc())
        .limit(CAMPAIGNS_SHOWN)
    ).all()


@dataclass(frozen=True)
class EmailLine:
    """An email for this subscriber and its result."""

    campaign: Campaign
    delivery: Delivery
    day: datetime


def _emails(request: Request, row: Subscriber) -> list[EmailLine]:
    rows = request.dbsession.execute(
        select(Campaign, Delivery)
        .join(Delivery, Delivery.campaign_id == Campaign.id)
        .where(Delivery.subscriber_id == row.id)
        .order_by(Delivery.id.desc())
        .limit(EMAILS_SHOWN)
    )
    lines = [
        EmailLine(campaign, delivery, delivery.settled_at or delivery.dated_at) for campaign, delivery in rows
    ]
    return sorted(lines, key=lambda line: line.day, reverse=True)
