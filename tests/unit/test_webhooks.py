"""Which URLs an account announces to, and what of a URL is ever shown."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from refundry import InvalidRequest, RefundRequest
from tests.unit.builders import account, job
from worker.announcing.destinations import Destination, without_url
from worker.announcing.webhooks import Webhooks

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def problems(url: str, *hosts: str, private: bool = False) -> str:
    """What an account with these hosts says of a URL."""
    settings: dict[str, Any] = {
        "announce_hosts": hosts or ("shop.example",),
        "announce_secret": SECRET,
        "announce_private": private,
    }
    webhooks = Webhooks(account(**settings))
    found = "; ".join(webhooks.problems(url))
    webhooks.close()
    return found


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://shop.example", "shop.example"),
        ("https://SHOP.example/told?x=1", "Shop.Example"),
        ("https://shop.example:443/", "shop.example"),
        ("https://shop.example/", "shop.example:443"),
        ("https://shop.example:8443/told", "shop.example:8443"),
        ("https://8.8.8.8/told", "8.8.8.8"),
        ("https://[2606:4700::1111]/told", "[2606:4700::1111]"),
    ],
)
def test_a_listed_host_is_announced_to(url: str, host: str) -> None:
    assert problems(url, host) == ""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://other.example/", "announce_hosts"),
        ("https://shop.example.evil.example/", "announce_hosts"),
        ("https://shop.example.:443/", "announce_hosts"),
        ("https://shop.example:8443/", "announce_hosts"),
        ("https://shop.example@evil.example/", "user"),
        ("https://user:HUNTER2@shop.example/", "user"),
        ("https://evil.example\\@shop.example/", "user"),
        ("https://shop.example\\.evil.example/", "user"),
        ("https://shop.example/#HUNTER2", "fragment"),
        ("https://shop.example:0/", "http"),
        ("https://shop.example:99999/", "http"),
        ("https:///told", "http"),
        ("http://shop.example/?k=HUNTER2", "https"),
    ],
)
def test_any_other_url_is_refused_and_not_shown(url: str, said: str) -> None:
    found = problems(url, "shop.example", "shop.example:80")
    assert said in found
    assert "HUNTER2" not in found


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3", "[::1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[fd00::1]"],
)
def test_a_private_address_is_announced_to_only_where_the_account_says_so(host: str) -> None:
    assert "not allowed" in problems(f"https://{host}/told", host)
    assert "https" in problems(f"http://{host}/told", host)
    for scheme in ("http", "https"):
        assert problems(f"{scheme}://{host}/told", host, private=True) == ""


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "[fe80::1]", "[::]"])
def test_link_local_and_multicast_addresses_are_never_announced_to(host: str) -> None:
    for scheme in ("http", "https"):
        assert "not allowed" in problems(f"{scheme}://{host}/", host, private=True)


def test_a_public_address_is_never_announced_to_without_tls() -> None:
    assert "not allowed" in problems("http://8.8.8.8/", "8.8.8.8", private=True)


@given(st.text(alphabet="abc.:/@\\?#[]%0189-", max_size=30))
def test_no_url_is_read_as_a_host_that_it_does_not_name(rest: str) -> None:
    found = Destination.of(f"https://{rest}")
    if found is not None:
        assert rest.lower().startswith(found.host)
        assert rest[len(found.host) : len(found.host) + 1] in ("", ":", "/", "?")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"announce_hosts": ["shop.example"]}, "announce_secret"),
        ({"announce_secret": "HUNTER2"}, "whsec_"),
        ({"announce_secret": SECRET.removeprefix("whsec_")}, "whsec_"),
        ({"announce_secret": "whsec_HUNTER2!"}, "whsec_"),
        ({"announce_secret": "whsec_" + base64.b64encode(b"HUNTER2" * 3).decode()}, "24 to 64"),
        ({"announce_secret": "whsec_" + base64.b64encode(b"x" * 65).decode()}, "24 to 64"),
        ({"announce_hosts": ["https://shop.example"], "announce_secret": SECRET}, "HOST"),
        ({"announce_hosts": ["shop.example/told"], "announce_secret": SECRET}, "HOST"),
        ({"announce_hosts": ["*.example"], "announce_secret": SECRET}, "HOST"),
        ({"announce_hosts": ["shop.example:0"], "announce_secret": SECRET}, "HOST"),
        ({"announce_hosts": ["shop.example:65536"], "announce_secret": SECRET}, "HOST"),
        ({"announce_hosts": [""], "announce_secret": SECRET}, "HOST"),
    ],
)
def test_a_wrong_setting_of_announcements_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match="announce_") as caught:
        account(**settings)
    said = str([problem["msg"] for problem in caught.value.errors(include_input=False)])
    assert named in said
    assert "HUNTER2" not in said


@pytest.mark.parametrize("length", [24, 64])
def test_a_secret_of_24_to_64_bytes_is_taken(length: int) -> None:
    secret = "whsec_" + base64.b64encode(b"\xff" * length).decode()
    assert secret not in repr(account(announce_secret=secret))


@given(st.from_regex(r"https?://[\x21-\x7e]{0,30}", fullmatch=True))
def test_a_job_is_shown_without_the_path_and_the_query_of_its_url(start: str) -> None:
    url = f"{start}/HUNTER2"
    shown = without_url(job(announce={"url": url, "task": "t"}))
    assert "HUNTER2" not in str(shown)
    assert without_url(shown) == shown
    assert shown["announce"]["task"] == "t"


@pytest.mark.parametrize("other", [None, [], "x", {}, {"announce": 3}, {"announce": {"url": 3}}])
def test_whatever_has_no_url_is_shown_as_it_is(other: object) -> None:
    assert without_url(other) == other


@pytest.mark.parametrize(
    "announce", [{"url": "ftp://HUNTER2"}, "https://a.example?HUNTER2", {"url": "https://HUNTER2 "}]
)
def test_a_wrong_url_is_not_shown_in_the_reason(announce: object) -> None:
    with pytest.raises(InvalidRequest, match="announce") as caught:
        RefundRequest.read(job(announce=announce))
    assert "HUNTER2" not in str(caught.value)
