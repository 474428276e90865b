"""Sender backends: everything the author of a backend needs.

Subclass :class:`Backend` and :class:`Connection`, register the class under the entry point group
``mailganer.backends``, and test it with :class:`mailganer.backends.testing.BackendContract`. The guide is
``docs/writing-a-backend.md``; an example to copy is ``plugins/mailganer-example-backend``.
"""

from ..errors import (
    BackendError,
    BackendMissing,
    HostForbidden,
    InputError,
    LoginRefused,
    ProtocolBroken,
    SenderRefused,
    SettingsError,
    TLSFailed,
    TooFast,
    Unreachable,
)
from .addresses import new_mailbox, normalise_email, normalise_host
from .backend_settings import lists_among, secret_fields, settings_schema, split_settings, stored_settings
from .base import Backend, Connection
from .hosts import open_socket
from .messages import Message, Outcome, Receipt, Scope, clean
from .network import Limits, Network, Timeouts
from .registry import Registry, load_backends, require_known

__all__ = [
    "Backend",
    "BackendError",
    "BackendMissing",
    "Connection",
    "HostForbidden",
    "InputError",
    "Limits",
    "LoginRefused",
    "Message",
    "Network",
    "Outcome",
    "ProtocolBroken",
    "Receipt",
    "Registry",
    "Scope",
    "SenderRefused",
    "SettingsError",
    "TLSFailed",
    "Timeouts",
    "TooFast",
    "Unreachable",
    "clean",
    "lists_among",
    "load_backends",
    "new_mailbox",
    "normalise_email",
    "normalise_host",
    "open_socket",
    "require_known",
    "secret_fields",
    "settings_schema",
    "split_settings",
    "stored_settings",
]
