"""Which providers there are: this package's modules, and those that other packages offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.errors import ConfigError
from tests.providers.harness import FILES, OK, RawServer, account, answering, facts, wire_to
from tests.providers.toy import install_toy
from worker.providers.base import load_provider
from worker.refund import Verdict


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider ``toypay`` is there."""
    install_toy(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", FILES)
def test_a_provider_of_this_package_is_found_by_its_name(name: str) -> None:
    provider = load_provider(account(name))
    assert provider.merchant.startswith(f"{name}/")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "paypal",
            "Quickpay",
            "quickpay ",
            "",
            ".",
            "..",
            "hkrt.Hkrt",
            "../hkrt",
            "支付",
            "class",
        ),
        *(
            "base",
            "http",
            "sockets",
            "formats",
            "signatures",
            "rsa",
            "baofu_answers",
            "baofu_extra",
            "__init__",
        ),
    ],
)
def test_a_provider_that_nobody_offers_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_provider(account(name))
    assert str(raised.value) == f"accounts.main: there is no provider {name!r}"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"access_key": ""}, "access_key"),
        ({"access_key": 7}, "access_key"),
        ({"access_key": "env:REFUNDRY_TEST_NOT_SET"}, "access_key"),
        ({"access_id": ""}, "access_id"),
        ({"channel": "../x"}, "channel"),
        ({"acess_key": "HUNTER2"}, "acess_key"),
    ],
)
def test_a_wrong_setting_is_named_with_its_account_and_no_secret_is_told(
    change: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_provider(account("hkrt", **change))
    assert "accounts.main" in str(raised.value)
    assert field in str(raised.value)
    assert "HUNTER2" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"store_no": "S" * 33}, "store_no"),
        ({"operator": "o" * 17}, "operator"),
        ({"signing": "headers"}, "headers"),
        ({"signing": "md5"}, "sign_key"),
        ({"signing": "sha1"}, "signing"),
    ],
)
def test_a_setting_beyond_the_page_is_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        load_provider(account("quickpay", **change))


@pytest.mark.usefixtures("toy")
class TestFromOutside:
    def test_a_provider_of_another_package_works_like_one_of_ours(self) -> None:
        with RawServer(answering(OK)) as server, wire_to(server.url) as wire:
            provider = load_provider(account("toypay", server.url, shop="S9"))
            answer = wire.post(provider.submission(facts()))
            assert provider.read_submission(facts(), answer).verdict is Verdict.SUCCEEDED
            assert server.requests[0].endswith(b"S9 REFUND0001")
        assert provider.merchant == "toypay/S9"

    def test_its_settings_are_checked_like_ours(self) -> None:
        with pytest.raises(ConfigError, match=r"accounts\.main: .*shop"):
            load_provider(account("toypay"))
        with pytest.raises(ConfigError, match=r"accounts\.main: .*color"):
            load_provider(account("toypay", shop="S9", color="red"))

    def test_it_may_forbid_to_let_go_of_an_order_on_acceptance(self) -> None:
        with pytest.raises(ConfigError, match="serialisation"):
            load_provider(account("toypay", shop="S9", serialisation="until_accepted"))

    def test_ours_are_still_there(self) -> None:
        assert load_provider(account("hkrt")).merchant == "hkrt/cpostest"


def test_it_is_gone_with_its_package() -> None:
    with pytest.raises(ConfigError, match="toypay"):
        load_provider(account("toypay", shop="S9"))


@pytest.mark.parametrize("name", ["quickpay", "hkrt"])
def test_ours_may_let_go_of_an_order_on_acceptance(name: str) -> None:
    load_provider(account(name, serialisation="until_accepted"))
