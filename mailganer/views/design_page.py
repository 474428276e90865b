"""/design: every component in every state, for template authors. In development only."""

from typing import Any

from pyramid.request import Request
from wtforms import BooleanField, PasswordField, RadioField, SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired, Optional

from mailganer.db import utcnow
from mailganer.errors import _
from mailganer.i18n.languages import language_names
from mailganer.web import PUBLIC, Viewer

from ..web.decorators import view_config
from .charts import make_chart
from .forms import Form, choices

STATES = (
    ("campaign", ("draft", "scheduled", "sending", "waiting", "paused", "finished", "cancelled")),
    ("delivery", ("pending", "sending", "sent", "failed", "in_doubt", "skipped", "bounced")),
    ("subscriber", ("active", "unconfirmed", "unsubscribed", "bounced", "complained")),
    ("sender", ("ready", "sleeping", "failing")),
    ("import", ("reading", "ready", "applying", "done", "failed", "undone")),
)


class Sample(Form):
    email = StringField(_("Email address"), [InputRequired(_("Use the format name@example.com."))])
    password = PasswordField(_("Password"), [Optional()])
    language = SelectField(_("Language"), choices=lambda: choices(language_names()))
    text = TextAreaField(_("Text"), [Optional()])
    agreed = BooleanField(_("Count who opens"))
    moment = RadioField(_("When"), choices=choices([("now", _("Now")), ("later", _("At a time"))]))


@view_config(route_name="design", renderer="design.jinja2", permission=PUBLIC)
def design(request: Request) -> dict[str, Any]:
    if request.viewer is None:
        request.viewer = Viewer(0, "anna@example.com", request.locale_name, "Europe/Moscow")
    form = Sample.of(request)
    form.email.errors = [_("Use the format name@example.com.")]
    hours = [f"{hour:02}:00" for hour in range(24)]
    opened = [0, 3, 40, 180, 260, 210, 150, 120, 90, 85, 60, 52, 40, 38, 30, 22, 21, 15, 12, 8, 6, 5, 2, 1]
    clicked = [value // 4 for value in opened]
    days = [_("Mon"), _("Tue"), _("Wed"), _("Thu")]
    return {
        "form": form,
        "states": STATES,
        "now": utcnow(),
        "line": make_chart(_("Opens"), hours, [(_("Opened"), opened), (_("Clicked"), clicked)]),
        "bars": make_chart(_("Emails a day"), days, [(_("Emails"), [500, 500, 200, 4])], kind="bar"),
    }
