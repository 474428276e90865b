"""Mailganer: send email campaigns through the mail account you already have.

The path of an email: form -> ``views.campaigns`` -> ``campaigns.schedule`` -> ``sending.scheduler.tick`` ->
``sending.scheduler.plan`` -> ``sending.worker.lane`` -> the recipient -> ``/o /c /u`` -> ``tracking`` -> ``reports``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where they are used: commands and plugins that need no web start without it
    from pyramid.config import Configurator

    from .settings import Settings
    from .web.pixel import PixelFirst

__version__ = "0.2.0"


def main(global_config: Mapping[str, str] | None = None, **ini: str) -> "PixelFirst":
    """The WSGI application of ``[app:main]``. Raises ``SettingsError`` with every wrong setting."""
    from .settings import from_mapping
    from .web.pixel import PixelFirst

    path = (global_config or {}).get("__file__")
    settings = from_mapping(ini, ini=Path(path).resolve() if path else None)
    # Most of what a server of emails is asked for is one picture: it is answered before everything else.
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

    # The queue of tasks: they are enqueued after the commit.
    config.include(".sending")

    # Who asks: sessions, API tokens, CSRF, throttles, security headers.
    config.include(".web")

    # Every URL, before any view that answers one.
    config.include(".web.routes")
    config.include(".web.old_addresses")

    # The person's language, numbers and dates; then the templates that use them.
    config.include(".web.localization")
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
        "jinja2.finalize": "mailganer.web.localization.finalize",  # translation strings become words when printed
    }
