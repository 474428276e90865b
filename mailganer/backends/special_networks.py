"""IP networks that are not part of the public internet.

Sources: IANA IPv4 Special-Purpose Address Registry
(https://www.iana.org/assignments/iana-ipv4-special-registry) and IANA IPv6 Special-Purpose Address Registry
(https://www.iana.org/assignments/iana-ipv6-special-registry), all entries as of 2025-10-09, with multicast
(RFC 5771, RFC 4291) and the deprecated site-local addresses (RFC 3879). Entries that the registries call
globally reachable, such as AS112 and AMT, are relays and anycast services and never a mail server, so they
are in the table, too.

The table replaces ``is_global`` of the standard library, which knows different networks in each version of
Python: 3.11.7 treats 192.88.99.0/24, most of 192.0.0.0/24 and 3fff::/20 as public.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

_IPV4: Final = """
    0.0.0.0/8           "this network" (RFC 791)
    10.0.0.0/8          private use (RFC 1918)
    100.64.0.0/10       shared address space (RFC 6598)
    127.0.0.0/8         loopback (RFC 1122)
    169.254.0.0/16      link local (RFC 3927)
    172.16.0.0/12       private use (RFC 1918)
    192.0.0.0/24        IETF protocol assignments (RFC 6890), with all single addresses registered in it
    192.0.2.0/24        documentation (RFC 5737)
    192.31.196.0/24     AS112-v4 (RFC 7535)
    192.52.193.0/24     AMT (RFC 7450)
    192.88.99.0/24      deprecated 6to4 relay anycast (RFC 7526), 6a44 relay anycast (RFC 6751)
    192.168.0.0/16      private use (RFC 1918)
    192.175.48.0/24     AS112 direct delegation (RFC 7534)
    198.18.0.0/15       benchmarking (RFC 2544)
    198.51.100.0/24     documentation (RFC 5737)
    203.0.113.0/24      documentation (RFC 5737)
    224.0.0.0/4         multicast (RFC 5771)
    240.0.0.0/4         reserved (RFC 1112), with limited broadcast (RFC 8190)
"""
_IPV6: Final = """
    ::/128              unspecified (RFC 4291)
    ::1/128             loopback (RFC 4291)
    ::ffff:0:0/96       IPv4-mapped (RFC 4291)
    64:ff9b::/96        IPv4-IPv6 translation (RFC 6052)
    64:ff9b:1::/48      IPv4-IPv6 translation (RFC 8215)
    100::/64            discard only (RFC 6666)
    100:0:0:1::/64      dummy prefix (RFC 9780)
    2001::/23           IETF protocol assignments (RFC 2928): Teredo, benchmarking, AMT, ORCHID, DETs
    2001:db8::/32       documentation (RFC 3849)
    2002::/16           6to4 (RFC 3056)
    2620:4f:8000::/48   AS112 direct delegation (RFC 7534)
    3fff::/20           documentation (RFC 9637)
    5f00::/16           segment routing (RFC 9602)
    fc00::/7            unique local (RFC 4193)
    fe80::/10           link local (RFC 4291)
    fec0::/10           deprecated site local (RFC 3879)
    ff00::/8            multicast (RFC 4291)
"""
_GLOBAL_UNICAST: Final = IPv6Network(
    "2000::/3"
)  # all that has been allocated; the rest is reserved (RFC 4291)


def _networks(table: str) -> list[str]:
    return [line.split()[0] for line in table.strip().splitlines()]


IPV4: Final = tuple(map(IPv4Network, _networks(_IPV4)))
IPV6: Final = tuple(map(IPv6Network, _networks(_IPV6)))


def is_special(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is in one of these networks, or in space that has not been allocated."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in IPV4)
    return address not in _GLOBAL_UNICAST or any(address in network for network in IPV6)
