"""Pages, one module per page family. A view reads the request, calls one function, and responds."""

from jinja2 import Environment
from pyramid.config import Configurator
from pyramid.tweens import INGRESS

from mailganer.broker import broker_url
from mailganer.i18n.sentences import pgettext
from mailganer.web import localization
from mailganer.web.tracking_state import prepare_tracking

from ..web.compression import asset
from ..web.health import BrokerWatch, DatabaseWatch
from .charts import shares
from .status_badges import campaign_state, state_word
from .subject_lines import plain, subject_of

DEVELOPMENT = ("design", "outbox")  # modules whose routes exist in development only


def includeme(config: Configurator) -> None:
    registry = config.registry
    prepare_tracking(registry)
    registry["database"] = DatabaseWatch(lambda: registry["engine"])
    registry["broker"] = BrokerWatch(broker_url(registry["settings"]))
    config.add_tween("mailganer.web.health.metrics_tween")
    config.add_tween("mailganer.web.compression.compression_tween", under=INGRESS)
    config.action(None, lambda: prepare_templates(config.get_jinja2_environment()), order=999)
    # Renderer names are relative to templates/: renderer="senders.jinja2" is templates/senders.jinja2.
    development = config.registry["settings"].development
    left_out = [] if development else [f"mailganer.views.{name}" for name in DEVELOPMENT]
    config.scan("mailganer.web.health")
    config.scan("mailganer.web.pixel")
    config.scan("mailganer.views", ignore=left_out)


def prepare_templates(environment: Environment) -> None:
    """Register what every template may use besides the components: filters, labels, URLs of static files."""
    environment.filters.update(localization.FILTERS)
    environment.globals.update(
        display_settings=localization.display_settings,
        asset=asset,
        state_word=state_word,
        campaign_state=campaign_state,
        pgettext=pgettext,
        shares=shares,
        plain=plain,
        subject_of=subject_of,
    )
    environment.policies["ext.i18n.trimmed"] = True
    # All names are relative to templates/. Otherwise a template is compiled and kept anew for each chain of
    # templates that include it: macros.jinja2 dozens of times.
    environment.join_path = _name_as_written  # type: ignore[method-assign]


def _name_as_written(template: str, parent: str) -> str:
    return template
