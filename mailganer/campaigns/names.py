"""Host name for Message-IDs and list ids."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def host_of_ids(public_url: str, sender_email: str) -> str:
    """Return the installation's public host name, or the sender's domain if there is none.

    A bare word or an IP address identifies no host for others, and Gmail replaces Message-IDs it finds
    malformed.
    """
    host = urlsplit(public_url).hostname or ""
    return host if _is_public_name(host) else sender_email.rpartition("@")[2].lower()


def _is_public_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return "." in host.strip(".")
    return False
