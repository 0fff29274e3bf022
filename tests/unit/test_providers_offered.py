"""Which providers an account may name, and what only some of them allow."""

from pathlib import Path

import pytest

from config.accounts import Account
from config.errors import ConfigError
from tests.unit.builders import account
from worker.runtime import build_lines

#: A provider as another package would offer it: it must see a refund final before the next.
STRICT = """
from worker.providers.base import Traits


class Strict:
    traits = Traits(
        deduplicates=False, resubmits=False, allows_until_accepted=False, watch_days=0
    )
    merchant = "strict/1"


def provider(account):
    return Strict()
"""


@pytest.fixture
def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a provider that an installed package offers."""
    (tmp_path / "strict_pay.py").write_text(STRICT)
    info = tmp_path / "strict_pay-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strict_pay\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[refundry.providers]\nstrictpay = strict_pay:provider\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "strictpay"


def test_a_package_may_offer_a_provider_of_its_own(strict: str) -> None:
    lines = build_lines({"shop": account(provider=strict)})
    assert lines["shop"].provider.merchant == "strict/1"


def test_only_some_providers_let_the_next_refund_go_on_acceptance(strict: str) -> None:
    early = {"serialisation": "until_accepted"}
    hkrt = Account.model_validate(
        {"name": "hk", "provider": "hkrt", "base_url": "http://127.0.0.1:9", **early}
        | {"access_id": "a", "access_key": "b"}
    )
    for allowed in (account(**early), hkrt):
        assert build_lines({"shop": allowed})["shop"].rules.releases_on_acceptance
    with pytest.raises(ConfigError, match=r"accounts\.shop.*serialisation"):
        build_lines({"shop": account(provider=strict, **early)})
