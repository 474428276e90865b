"""The fields of a mail account as a form, made from its backend's own settings: for sign-in and senders."""

import types
import typing
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo
from pyramid.request import Request
from wtforms import BooleanField, Field, IntegerField, PasswordField, SelectField, StringField
from wtforms.validators import Optional

from mailganer.backends import Backend, Registry, normalise_email, secret_fields
from mailganer.errors import (
    BackendError,
    HostForbidden,
    InputError,
    LoginRefused,
    MailganerError,
    Throttled,
    TLSFailed,
    Unreachable,
    _,
)

from .errors import status_of
from .forms import Form, choices

CHOICES = {
    "tls": _("TLS from the start"),
    "starttls": _("STARTTLS"),
    "none": _("None (only on this computer)"),
}
ABOUT_THE_SERVER = (HostForbidden, TLSFailed, Unreachable)


class AccountForm(Form):
    """The form of one backend. ``folded`` names the fields that rarely need a look."""

    folded: frozenset[str] = frozenset()

    def values(self) -> dict[str, Any]:
        """What goes to ``Registry.open``."""
        return {name: value for name, field in self._fields.items() if (value := _value(field)) is not None}

    @property
    def has_secret(self) -> bool:
        """Whether there is something to be kept from others: a password."""
        return any(isinstance(field, PasswordField) for field in self)

    @property
    def folded_wrong(self) -> bool:
        return any(self._fields[name].errors for name in self.folded)


def _value(field: Field) -> Any:
    """What was filled in, as it was typed where it is no number; None where the form did not ask."""
    return field.raw_data[0] if field.process_errors and field.raw_data else field.data


def account_form(
    kind: type[Backend],
    request: Request,
    values: dict[str, Any],
    *,
    keep: bool = False,
    posted: bool | None = None,
) -> AccountForm:
    """The backend's fields, filled from the posted form or with ``values``. ``keep``: empty secrets stay.

    ``posted`` False: the posted form is another one of the page.
    """
    allow_private = request.registry["settings"].allow_private_smtp_hosts
    secrets = secret_fields(kind.Settings)
    fields: dict[str, Any] = {
        name: _field(name, info, name in secrets, allow_private, keep)
        for name, info in kind.Settings.model_fields.items()
        if _is_shown(info)
    }
    fields["folded"] = frozenset(fields) - secrets
    form: type[AccountForm] = type("BackendForm", (AccountForm,), fields)
    use_post = request.method == "POST" if posted is None else posted
    return form(
        request.POST if use_post else None,
        meta={"locales": [request.locale_name]},
        **{name: value for name, value in values.items() if name not in secrets},
    )


def _is_shown(info: FieldInfo) -> bool:
    extra = info.json_schema_extra
    return not (isinstance(extra, dict) and extra.get("form") is False)


def _field(name: str, info: FieldInfo, secret: bool, allow_private: bool, keep: bool) -> Field:
    label, help_text = info.title or name, info.description or ""
    kind = _bare(info.annotation)
    if secret:
        render = {"autocomplete": "current-password", "spellcheck": "false"}
        help_text = _("Leave it empty to keep the one we have.") if keep else help_text
        return PasswordField(label, [Optional()] if keep else [], description=help_text, render_kw=render)
    if typing.get_origin(kind) is typing.Literal:
        values = [value for value in typing.get_args(kind) if value != "none" or allow_private]
        options = choices((value, CHOICES.get(value, value)) for value in values)
        return SelectField(label, choices=options, description=help_text)
    if kind is bool:
        return BooleanField(label, description=help_text)
    if kind is int:
        return IntegerField(label, description=help_text, render_kw={"inputmode": "numeric"})
    render = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
    return StringField(
        label, [Optional()] if info.default == "" else [], description=help_text, render_kw=render
    )


def _bare(annotation: Any) -> Any:
    """``int`` for ``int | None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(annotation) if part is not type(None))
    return annotation


@dataclass(frozen=True)
class Way:
    """One kind of mail account, as the page explains it."""

    name: str
    title: str
    help: str
    help_url: str
    known: bool  # the address's domain says so, nobody had to choose


def way_of(kind: type[Backend], email: str) -> Way:
    known = email.rpartition("@")[2] in kind.domains
    return Way(kind.name, kind.title, kind.help, kind.password_page(email), known)


def other_ways(registry: Registry, chosen: type[Backend], email: str) -> list[type[Backend]]:
    """The other backends this address may use. A domain that one of them claims is its alone."""
    domain = email.rpartition("@")[2].lower()
    if domain in chosen.domains:
        return []
    return [kind for kind in registry.types if kind is not chosen]


def account_page(request: Request) -> dict[str, Any]:
    """What sign-in and a new sender begin with: the address, then the fields that its mail account needs. An
    address that is wrong or missing is asked for again."""
    registry: Registry = request.registry["backends"]
    page: dict[str, Any] = {
        "email": request.params.get("email", "").strip(),
        "form": None,
        "wrong": None,
        "refusal": None,
        "open_server": False,
    }
    if not page["email"]:
        return page
    try:
        email = page["email"] = normalise_email(page["email"])
        name = request.params.get("backend", "")
        kind = registry.get(name) if name else registry.for_email(email)
    except InputError as error:
        return page | {"wrong": error.fields["email"]}
    except BackendError as error:
        return page | {"wrong": error.message}
    form = account_form(kind, request, kind.guess(email))
    return page | {"form": form, "way": way_of(kind, email), "others": other_ways(registry, kind, email)}


def refused(request: Request, page: dict[str, Any], error: MailganerError) -> dict[str, Any]:
    """The same page with what was refused: beside its field, or in the server's words."""
    request.response.status_int = status_of(error)
    if isinstance(error, Throttled):
        request.response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, HostForbidden):  # no server said this: it belongs beside its field
        error = InputError({error.field: error.message})
    if isinstance(error, InputError):
        page["form"].take(error)
        return page | {"wrong": error.fields.get("email")}
    return page | {"refusal": error, "open_server": is_about_server(error)}


def is_about_password(error: MailganerError) -> bool:
    """Whether it helps to say once more which password is meant."""
    return isinstance(error, InputError | LoginRefused)


def is_about_server(error: MailganerError) -> bool:
    """Whether the fields to look at are those of the server, not the password."""
    return isinstance(error, ABOUT_THE_SERVER)
