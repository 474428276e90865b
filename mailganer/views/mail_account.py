"""Form for the settings of a mail account, generated from its backend: for sign-in and senders."""

from dataclasses import dataclass
from typing import Any

from pyramid.request import Request
from wtforms import PasswordField

from mailganer.backends import Backend, Registry, new_mailbox
from mailganer.errors import (
    BackendError,
    HostForbidden,
    InputError,
    LoginRefused,
    MailganerError,
    Throttled,
    TLSFailed,
    Unreachable,
)

from ..web.error_status import status_of
from .forms import Form
from .setting_fields import Setting, settings_of

ABOUT_THE_SERVER = (HostForbidden, TLSFailed, Unreachable)


class AccountForm(Form):
    """Form of one backend. ``folded`` names the fields that are usually left unchanged."""

    folded: frozenset[str] = frozenset()
    settings: tuple[Setting, ...] = ()

    def values(self) -> dict[str, Any]:
        """Return the arguments for ``Registry.open``."""
        given = {setting.name: setting.given(self._fields[setting.name]) for setting in self.settings}
        return {name: value for name, value in given.items() if value is not Setting.KEPT}

    @property
    def has_secret(self) -> bool:
        """Return whether there is a secret field, such as a password."""
        return any(isinstance(field, PasswordField) for field in self)

    @property
    def folded_wrong(self) -> bool:
        return any(self._fields[name].errors for name in self.folded)


def account_form(
    kind: type[Backend],
    request: Request,
    values: dict[str, Any],
    *,
    keep: bool = False,
    posted: bool | None = None,
) -> AccountForm:
    """Return the backend's fields, filled from the posted form or with ``values``.

    ``keep``: empty secrets keep their stored value. ``posted`` False: another form of the page was posted.
    """
    allow_private = request.registry["settings"].allow_private_smtp_hosts
    settings = settings_of(kind.Settings, allow_private=allow_private, keep=keep)
    known = {setting.name: setting.shown(values) for setting in settings}
    fields: dict[str, Any] = {setting.name: setting.field() for setting in settings}
    # Show fields that have to be filled in; fold those that are known or may stay empty.
    fields["folded"] = frozenset(
        setting.name
        for setting in settings
        if not setting.secret and not (setting.required and known[setting.name] in (None, ""))
    )
    fields["settings"] = settings
    form: type[AccountForm] = type("BackendForm", (AccountForm,), fields)
    use_post = request.method == "POST" if posted is None else posted
    return form(request.POST if use_post else None, meta={"locales": [request.locale_name]}, **known)


@dataclass(frozen=True)
class Way:
    """A kind of mail account, as the page describes it."""

    name: str
    title: str
    help: str
    help_url: str
    known: bool  # chosen by the address's domain, not by the user


def way_of(kind: type[Backend], email: str) -> Way:
    known = email.rpartition("@")[2] in kind.domains
    return Way(kind.name, kind.title, kind.help, kind.password_page(email), known)


def other_ways(registry: Registry, chosen: type[Backend], email: str) -> list[type[Backend]]:
    """Return the other backends this address may use. A domain claimed by a backend uses only that one."""
    domain = email.rpartition("@")[2].lower()
    if domain in chosen.domains:
        return []
    return [kind for kind in registry.types if kind is not chosen]


def account_page(request: Request) -> dict[str, Any]:
    """Return the first page of sign-in or a new sender: the address, then the fields of its mail account.

    A wrong or missing address is asked for again.
    """
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
        email = page["email"] = new_mailbox(page["email"])
        name = request.params.get("backend", "")
        kind = registry.get(name) if name else registry.for_email(email)
    except InputError as error:
        return page | {"wrong": error.fields["email"]}
    except BackendError as error:
        return page | {"wrong": error.message}
    form = account_form(kind, request, kind.guess(email))
    return page | {"form": form, "way": way_of(kind, email), "others": other_ways(registry, kind, email)}


def refused(request: Request, page: dict[str, Any], error: MailganerError) -> dict[str, Any]:
    """Return the same page with the error: beside its field, or as the server's reply."""
    request.response.status_int = status_of(error)
    if isinstance(error, Throttled):
        request.response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, HostForbidden):  # not from a server, so show it beside its field
        error = InputError({error.field: error.message})
    if isinstance(error, InputError):
        others = {name: sentence for name, sentence in error.fields.items() if name != "email"}
        page["form"].take(InputError(others))
        return page | {"wrong": error.fields.get("email")}
    return page | {"refusal": error, "open_server": is_about_server(error)}


def is_about_password(error: MailganerError) -> bool:
    """Return whether a hint about which password is meant would help."""
    return isinstance(error, InputError | LoginRefused)


def is_about_server(error: MailganerError) -> bool:
    """Return whether the error concerns the server fields, not the password."""
    return isinstance(error, ABOUT_THE_SERVER)
