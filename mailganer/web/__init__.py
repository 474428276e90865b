"""Web layer shared by pages and API: sessions, API tokens, CSRF, rate limits, security headers.

Pages authenticate by a signed cookie, the API by a bearer token, never the other way round: a foreign page
can make a browser send our cookie, so cookies are ignored under ``/api``.
"""

from urllib.parse import urlsplit

from pyramid.config import Configurator
from pyramid.csrf import SessionCSRFStoragePolicy

from ..settings import Settings
from .account_verification import ask_outside, end_transaction, in_time, local_path, sign_in, verify_account
from .headers import email_response, security_headers
from .metrics_access import is_from_private_network, may_read_metrics
from .outside_calls import OutsideCalls
from .pending_forms import PendingForms, has_waited
from .rate_limits import RateLimit, RateLimiter, network, shared_storage
from .request_bodies import BodyLimits
from .security_policy import (
    PUBLIC,
    SIGNED_IN,
    SecurityPolicy,
    Viewer,
    account_of,
    is_api,
    needs_csrf,
    viewer_of,
)
from .sessions import (
    RotatingSerializer,
    end_other_access,
    flash,
    flashes,
    session_factory,
    sign_in_session,
    sign_out_session,
)

__all__ = [
    "PUBLIC",
    "BodyLimits",
    "OutsideCalls",
    "RateLimit",
    "RateLimiter",
    "RotatingSerializer",
    "Viewer",
    "ask_outside",
    "email_response",
    "end_other_access",
    "end_transaction",
    "has_waited",
    "in_time",
    "is_api",
    "is_from_private_network",
    "local_path",
    "may_read_metrics",
    "network",
    "security_headers",
    "sign_in",
    "sign_in_session",
    "sign_out_session",
    "verify_account",
]


def includeme(config: Configurator) -> None:
    settings: Settings = config.registry["settings"]
    config.set_session_factory(session_factory(settings))
    config.set_csrf_storage_policy(SessionCSRFStoragePolicy())
    config.set_default_csrf_options(require_csrf=True, callback=needs_csrf)
    # A proxy may not pass the Host header on; forms still come from the public address.
    config.add_settings({"pyramid.csrf_trusted_origins": urlsplit(settings.public_url).netloc})
    config.set_security_policy(SecurityPolicy())
    config.set_default_permission(SIGNED_IN)
    config.add_request_method(account_of, name="account", reify=True)
    config.add_request_method(viewer_of, name="viewer", reify=True)
    config.add_request_method(flash, name="flash")
    config.add_request_method(flashes, name="flashes")
    config.registry["outside"] = OutsideCalls()
    config.registry["body_limits"] = BodyLimits(settings)
    config.registry["pending"] = PendingForms()
    config.scan("mailganer.web.request_bodies")
    config.add_tween("mailganer.web.pending_forms.pending_tween")
    config.add_tween("mailganer.web.headers.headers_tween")
    config.registry["throttle"] = RateLimiter(settings.broker_url, shared_storage(config.registry["engine"]))
