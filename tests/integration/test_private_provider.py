"""A provider from outside the tree takes part in the protocol like one of ours."""

from pathlib import Path

import pytest

from refundry import State
from tests.integration.conftest import MakeShop
from tests.providers.harness import OK, RawServer, answering
from tests.providers.toy import install_toy
from worker.ledger.engine import Ledger
from worker.steps.submit import submit


def test_a_refund_goes_through_a_private_provider_to_its_end(
    ledger: Ledger, make_shop: MakeShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_toy(tmp_path, monkeypatch)
    with RawServer(answering(OK)) as server:
        toy = {"provider": "toypay", "base_url": server.url, "merchant": None, "shop": "S9"}
        shop = make_shop(ledger, toy=toy)
        accepted = shop.accept(account="toy")
        submit(shop.runtime, accepted.order_id)
        assert shop.state() is State.SUCCEEDED
        assert [request.partition(b"\r\n\r\n")[2] for request in server.requests] == [b"S9 R1"]
    assert shop.audit() == []
