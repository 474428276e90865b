"""The web application for tests: configured once per set of settings, with fresh state for each test.

Pyramid needs a tenth of a second to configure 145 views, which are the same each time.
"""

from collections import OrderedDict
from collections.abc import Mapping

from pyramid.config import Configurator
from pyramid.registry import Registry

import mailganer
from mailganer.broker import broker_url
from mailganer.settings import Settings, from_mapping
from mailganer.web import BodyLimits, OutsideCalls, RateLimiter, shared_storage
from mailganer.web.health import BrokerWatch, DatabaseWatch
from mailganer.web.pending_forms import PendingForms
from mailganer.web.pixel import PixelFirst
from mailganer.web.tracking_state import prepare_tracking

# The configuration does not depend on these: they are read from the settings on each request.
PLACES = frozenset(
    {"sqlalchemy.url", "celery.broker_url", "mailganer.data_dir", "mailganer.backend.maildir.folder"}
)
KEPT = 6  # sets of settings; those that only one test uses are evicted


class Applications:
    """``make(ini_values)`` returns what ``mailganer.main`` would, without state of an earlier test."""

    def __init__(self) -> None:
        self._registries: OrderedDict[frozenset[tuple[str, str]], Registry] = OrderedDict()

    def make(self, ini: Mapping[str, str]) -> PixelFirst:
        kind = frozenset((key, value) for key, value in ini.items() if key not in PLACES)
        registry = self._registries.pop(kind, None)
        application = renewed(registry, from_mapping(dict(ini))) if registry else mailganer.main({}, **ini)
        self._registries[kind] = application.registry
        if len(self._registries) > KEPT:
            self._registries.popitem(last=False)
        return application


def renewed(registry: Registry, settings: Settings) -> PixelFirst:
    """Give a configured registry the state that ``mailganer.configure`` would have given a new one."""
    config = Configurator(registry=registry, package=mailganer)
    registry["settings"] = settings
    for part in (".db", ".accounts", ".billing", ".queue"):  # these have state and no views
        config.include(part)
    registry["outside"] = OutsideCalls()
    registry["body_limits"] = BodyLimits(settings)
    registry["pending"] = PendingForms()
    registry["throttle"] = RateLimiter(settings.broker_url, shared_storage(registry["engine"]))
    prepare_tracking(registry)
    registry["database"] = DatabaseWatch(lambda: registry["engine"])
    registry["broker"] = BrokerWatch(broker_url(settings))
    return PixelFirst(config.make_wsgi_app())


def close(application: PixelFirst) -> None:
    """End the threads and connections of an application."""
    for writer in ("clicks", "looks", "unsubscribes", "opens"):
        application.registry[writer].close()
    application.registry["engine"].dispose()
