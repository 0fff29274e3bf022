"""What an address is, in whichever form it is written."""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.announcing.addresses import is_address, is_own, is_public

OWN = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"]
#: Neither one's own nor anybody's: never announced to.
NOWHERE = ["0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "192.0.2.0/24"]


def inside(networks: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(networks).flatmap(lambda network: st.ip_addresses(v=4, network=network))


def forms(address: IPv4Address) -> list[str]:
    """An IPv4 address as it can stand in an IPv6 one."""
    number = int(address)
    return [
        str(address),
        f"::ffff:{address}",
        str(IPv6Address((0x2002 << 112) | (number << 80) | 1)),
        str(IPv6Address((0x64FF9B << 96) | number)),
    ]


@given(inside(OWN))
def test_an_own_address_is_own_in_every_form_and_never_public(address: IPv4Address) -> None:
    for form in forms(address):
        assert is_own(form), form
        assert not is_public(form), form


@given(inside(NOWHERE))
def test_an_address_that_nobody_has_is_neither_own_nor_public(address: IPv4Address) -> None:
    for form in forms(address):
        assert not is_own(form), form
        assert not is_public(form), form


@given(st.ip_addresses(v=4))
def test_only_an_address_outside_every_special_network_is_public(address: IPv4Address) -> None:
    special = any(address in ip_network(network) for network in OWN + NOWHERE)
    for form in forms(address):
        assert not (special and is_public(form)), form


@pytest.mark.parametrize(
    "text",
    [
        "::", "fe80::1", "fe80::1%eth0", "ff02::1", "::127.0.0.1", "::ffff:0:127.0.0.1",
        "64:ff9b:1::7f00:1", "2001:db8::1", "2001::1", "fec0::1", "100::1",
    ],
)  # fmt: skip
def test_special_addresses_of_ipv6_are_neither_own_nor_public(text: str) -> None:
    assert is_address(text)
    assert not is_own(text)
    assert not is_public(text)


@pytest.mark.parametrize("text", ["::1", "fd00::1", "fc00::1"])
def test_ones_own_addresses_of_ipv6_are_own(text: str) -> None:
    assert is_own(text)
    assert not is_public(text)


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111", "2002:808:808::1"]
)
def test_what_anybody_may_reach_is_public(text: str) -> None:
    assert is_public(text)


@given(st.text(max_size=20).filter(lambda text: not any(c.isdigit() or c == ":" for c in text)))
def test_a_text_that_is_no_address_is_nothing(text: str) -> None:
    assert not is_address(text)
    assert not is_own(text)
    assert not is_public(text)
