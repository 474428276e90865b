"""Mailganer: send email campaigns through the mail account you already have.

The path of an email: form -> ``views.campaigns`` -> ``campaigns.state_changes`` -> ``sending.scheduler.tick``
-> ``sending.scheduler.plan`` -> ``sending.worker.lane_turn`` -> the recipient -> ``/o /c /u`` ->
``tracking`` -> ``reports``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported on use: commands and plugins that need no web start without them
    from pyramid.config import Configurator

    from .settings import Settings
    from .web.pixel import PixelFirst

__version__ = "0.2.0"


def main(global_config: Mapping[str, str] | None = None, **ini: str) -> "PixelFirst":
    """Return the WSGI application of ``[app:main]``. Raise ``SettingsError`` with every wrong setting."""
    from .settings import from_mapping
    from .web.pixel import PixelFirst

    path = (global_config or {}).get("__file__")
    settings = from_mapping(ini, ini=Path(path).resolve() if path else None)
    # Most requests are for the tracking pixel, so it is answered before everything else.
    return PixelFirst(configure(settings).make_wsgi_app())


def configure(settings: "Settings") -> "Configurator":
    """Compose the Pyramid application from settings."""
    from pyramid.config import Configurator
    from structlog import get_logger

    from .logs import configure_logs

    # First, because it keeps the values of variables out of tracebacks.
    configure_logs(settings.development)
    for warning in settings.warnings:
        get_logger().warning("settings.deprecated", warning=warning)
    config = Configurator(settings=_pyramid_settings(settings))
    config.registry["settings"] = settings

    # One transaction per request, under a manager of its own, retried when the database reports a conflict.
    # Everything below may rely on request.tm.
    config.include("pyramid_retry")
    config.include("pyramid_tm")

    # request.dbsession, joined to request.tm.
    config.include(".db")

    # Shared by pages and API: the configured sender backends and the vault.
    config.include(".accounts")

    # The configured payment providers.
    config.include(".billing")

    # The task queue: tasks are enqueued after the commit.
    config.include(".queue")

    # Authentication: sessions, API tokens, CSRF, rate limits, security headers.
    config.include(".web")

    # Every URL, before any view that handles one.
    config.include(".web.routes")
    config.include(".web.old_addresses")

    # The user's language, numbers and dates; then the templates that use them.
    config.include(".web.localization")
    config.include("pyramid_jinja2")
    config.include(".views")

    # The same functions as JSON, checked against the OpenAPI document.
    config.include(".api")
    return config


def _pyramid_settings(settings: "Settings") -> dict[str, object]:
    from .i18n.languages import SOURCE_LANGUAGE

    return {
        "tm.manager_hook": "pyramid_tm.explicit_manager",
        # The user is looked up after the route is known, and where error pages can be shown.
        "tm.annotate_user": False,
        # A returned 4xx has changed nothing (functions check first), a raised one is aborted anyway.
        "tm.commit_veto": "pyramid_tm.default_commit_veto",
        "retry.attempts": 3,
        "pyramid.default_locale_name": SOURCE_LANGUAGE,
        "pyramid.reload_templates": settings.development,
        "jinja2.directories": "mailganer:templates",
        "jinja2.undefined": "strict",
        "jinja2.trim_blocks": True,
        "jinja2.lstrip_blocks": True,
        "jinja2.i18n.domain": "mailganer",
        "jinja2.newstyle": True,  # {{ _("%(count)s people", count=n) }}; a literal percent sign is written %%
        # Translation strings become text when rendered.
        "jinja2.finalize": "mailganer.web.localization.finalize",
    }
