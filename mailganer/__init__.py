"""Mailganer: campaigns of letters through the mail account you already have.

The way of a letter: form -> ``views.campaigns`` -> ``campaigns.schedule`` -> ``sending.tick`` ->
``sending.plan`` -> ``sending.lane`` -> the reader -> ``/o /c /u`` -> ``tracking`` -> ``reports``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where they are used: commands and plugins that need no web start without it
    from pyramid.config import Configurator

    from .settings import Settings
    from .views.pixel import PixelFirst

__version__ = "0.2.0"


def main(global_config: Mapping[str, str] | None = None, **ini: str) -> "PixelFirst":
    """The WSGI application of ``[app:main]``. Raises ``SettingsError`` with every wrong setting."""
    from .settings import from_mapping
    from .views.pixel import PixelFirst

    path = (global_config or {}).get("__file__")
    settings = from_mapping(ini, ini=Path(path).resolve() if path else None)
    # Most of what a server of letters is asked for is one picture: it is answered before everything else.
    return PixelFirst(configure(settings).make_wsgi_app())


def configure(settings: "Settings") -> "Configurator":
    """Composes the application from settings: web, worker, commands and tests all come through here."""
    from pyramid.config import Configurator

    from .logs import configure_logs

    # First of all, how things are written down: without the values of variables.
    configure_logs(settings.development)
    config = Configurator(settings=_pyramid_settings(settings))
    config.registry["settings"] = settings

    # A transaction per request, under a manager of the request's own, tried again when the database
    # says two of them collided. Everything below may rely on request.tm.
    config.include("pyramid_retry")
    config.include("pyramid_tm")

    # request.dbsession, joined to request.tm.
    config.include(".db")

    # What both pages and API are made of: the sender backends named by the settings, and the vault.
    config.include(".accounts")

    # The ways to pay that the settings name.
    config.include(".billing")

    # The bell that wakes the pipeline after a commit.
    config.include(".sending")

    # Who asks: sessions, API tokens, CSRF, throttles, security headers.
    config.include(".security")

    # Every URL, before any view that answers one.
    config.include(".routes")

    # The person's language, numbers and dates; then the templates that use them.
    config.include(".i18n")
    config.include("pyramid_jinja2")
    config.include(".views")

    # The same verbs as JSON, checked against the OpenAPI document.
    config.include(".api")
    return config


def _pyramid_settings(settings: "Settings") -> dict[str, object]:
    return {
        "tm.manager_hook": "pyramid_tm.explicit_manager",
        # Who asks is looked up after the route is known, and inside the error pages' reach.
        "tm.annotate_user": False,
        # An answered 4xx has changed nothing (verbs check first), a raised one is aborted anyway.
        "tm.commit_veto": "pyramid_tm.default_commit_veto",
        "retry.attempts": 3,
        "pyramid.available_languages": "en ru",
        "pyramid.default_locale_name": "en",
        "pyramid.reload_templates": settings.development,
        "jinja2.directories": "mailganer:templates",
        "jinja2.undefined": "strict",
        "jinja2.trim_blocks": True,
        "jinja2.lstrip_blocks": True,
        "jinja2.i18n.domain": "mailganer",
        "jinja2.newstyle": True,  # {{ _("%(count)s people", count=n) }}; a lone percent sign is written %%
        "jinja2.finalize": "mailganer.i18n.finalize",  # translation strings become words when printed
    }
