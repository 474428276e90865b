"""Who asks, and what a browser may do with our pages: sessions, API tokens, CSRF, throttles, headers.

Pages know a person by a signed cookie, the API by a bearer token, never the other way round: a foreign page
can make a browser send our cookie, so a cookie opens nothing under ``/api``.
"""

from urllib.parse import urlsplit

from pyramid.config import Configurator
from pyramid.csrf import SessionCSRFStoragePolicy

from ..settings import Settings
from .asking import PUBLIC, SIGNED_IN, Policy, Viewer, account_of, is_api, needs_csrf, viewer_of
from .bodies import BodyLimits
from .headers import letter_response, security_headers
from .metrics import is_from_private_network, may_read_metrics
from .outside import OutsideCalls
from .pending import PendingForms, has_waited
from .proof import ask_outside, in_time, local_path, prove, release, sign_in
from .sessions import RotatingSerializer, end_other_access, enter, flash, flashes, leave, session_factory
from .throttles import Rule, Throttle, network, shared_tries

__all__ = [
    "PUBLIC",
    "BodyLimits",
    "OutsideCalls",
    "RotatingSerializer",
    "Rule",
    "Throttle",
    "Viewer",
    "ask_outside",
    "end_other_access",
    "enter",
    "has_waited",
    "in_time",
    "is_api",
    "is_from_private_network",
    "leave",
    "letter_response",
    "local_path",
    "may_read_metrics",
    "network",
    "prove",
    "release",
    "security_headers",
    "sign_in",
]


def includeme(config: Configurator) -> None:
    settings: Settings = config.registry["settings"]
    config.set_session_factory(session_factory(settings))
    config.set_csrf_storage_policy(SessionCSRFStoragePolicy())
    config.set_default_csrf_options(require_csrf=True, callback=needs_csrf)
    # Behind a proxy that does not pass the host on, forms still come from our own address.
    config.add_settings({"pyramid.csrf_trusted_origins": urlsplit(settings.public_url).netloc})
    config.set_security_policy(Policy())
    config.set_default_permission(SIGNED_IN)
    config.add_request_method(account_of, name="account", reify=True)
    config.add_request_method(viewer_of, name="viewer", reify=True)
    config.add_request_method(flash, name="flash")
    config.add_request_method(flashes, name="flashes")
    config.registry["outside"] = OutsideCalls()
    config.registry["body_limits"] = BodyLimits(settings)
    config.registry["pending"] = PendingForms()
    config.scan("mailganer.security.bodies")
    config.add_tween("mailganer.security.pending.pending_tween")
    config.add_tween("mailganer.security.headers.headers_tween")
    config.registry["throttle"] = Throttle(settings.broker_url, shared_tries(config.registry["engine"]))
