"""Accounts: sign-in, senders, sessions and API tokens.

Pages and API use ``web.sign_in`` and ``web.verify_account``, which apply rate limits and keep no transaction
open while a mail server is called; commands and tests may call these functions directly.
"""

from typing import TYPE_CHECKING

from ..backends import Network, load_backends
from ..settings import Settings
from ..vault import Vault
from .access import end_other_access, log_out_everywhere
from .admission import SignIn, admit, close_account, update_account
from .api_tokens import account_of_token, account_tokens, create_api_token, delete_api_token
from .senders import (
    account_senders,
    changed_backend,
    create_sender,
    day_limit,
    delete_sender,
    limit_sender,
    mark_failing,
    mark_ready,
    sender_backend,
    sender_limits,
    update_sender,
)
from .web_sessions import (
    LONGEST_SESSION,
    account_of_web_session,
    end_web_session,
    open_web_session,
)

if TYPE_CHECKING:  # processes that send do not need Pyramid
    from pyramid.config import Configurator

__all__ = [
    "LONGEST_SESSION",
    "SignIn",
    "account_of_token",
    "account_of_web_session",
    "account_senders",
    "account_tokens",
    "admit",
    "changed_backend",
    "close_account",
    "create_api_token",
    "create_sender",
    "day_limit",
    "delete_api_token",
    "delete_sender",
    "end_other_access",
    "end_web_session",
    "limit_sender",
    "log_out_everywhere",
    "mark_failing",
    "mark_ready",
    "network_of",
    "open_web_session",
    "sender_backend",
    "sender_limits",
    "update_account",
    "update_sender",
]


def network_of(settings: Settings) -> Network:
    """Return the network policy that the operator sets for backends."""
    return Network(
        allow_private=settings.allow_private_smtp_hosts,
        ports=settings.smtp_ports,
        ca_file=settings.smtp_ca_file,
    )


def includeme(config: "Configurator") -> None:
    settings: Settings = config.registry["settings"]
    config.registry["backends"] = load_backends(
        settings.backends, settings.backend_options, network_of(settings)
    )
    config.registry["vault"] = Vault(settings.secret_keys)
