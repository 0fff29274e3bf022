"""What an IP address is: public, or of one's own network. Pure.

An IPv6 address that stands for an IPv4 one (mapped, 6to4, NAT64) is what it stands for.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

#: Private use, shared by carriers (RFC 6598), and loopback.
_OWN: Final = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "fc00::/7",
            "::1/128",
        ),
    )
)
#: The prefix under which NAT64 shows the whole IPv4 world (RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_own(text: str) -> bool:
    """Whether it is a private or loopback address. False for a text that is no address."""
    address = _meant(text)
    return address is not None and any(address in network for network in _OWN)


def is_public(text: str) -> bool:
    """Whether anybody on the internet has it: none of one's own, link-local, multicast, reserved.

    False for a text that is no address.
    """
    address = _meant(text)
    if address is None or not address.is_global:
        return False
    site_local = isinstance(address, IPv6Address) and address.is_site_local
    return not (address.is_multicast or address.is_reserved or site_local or is_own(text))


def is_address(text: str) -> bool:
    """Whether the text is an address at all, and no name."""
    return _meant(text) is not None


def _meant(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return _embedded(address) or address


def _embedded(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
