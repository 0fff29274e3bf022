"""The bad line before a provider does to each request what was drawn, and nothing else."""

from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from tests.faults.proxy import DELAY_S, Proxy, misfortune
from tests.faults.soak.world import ONCE
from tests.simulator.harness import Sim, await_true, quick_body, signed

HKRT = "/hk/api/v1/pay/wx/refund"
QUICKPAY = "/qp/QuickPay/Refund"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    one = Sim(tmp_path_factory.mktemp("line") / "sim")
    yield one
    assert one.stop() == 0


def post(proxy: Proxy, provider: Sim, refund: str, path: str = HKRT) -> requests.Response:
    """A submission over a line."""
    named = {"out_refund_no": refund, "out_trade_no": f"O{refund}", "refund_amount": "0.30"}
    body = signed(named) if path == HKRT else quick_body(refund)
    return requests.post(proxy.before(provider.url) + path, json=body, timeout=DELAY_S + 5)


def is_answered(provider: Sim, fault: str, refund: str) -> bool:
    with Proxy(1, {fault: 1.0}) as proxy:
        try:
            return post(proxy, provider, refund).status_code == 200
        except requests.ConnectionError:
            return False


def submissions(provider: Sim, refund: str) -> int:
    return len(provider.log(event="submit_in", refund=refund))


@pytest.mark.parametrize("fault", ["none", "delayed", "dripped"])
def test_what_is_only_slow_arrives_once_and_is_answered(provider: Sim, fault: str) -> None:
    assert is_answered(provider, fault, f"R{fault}")
    assert submissions(provider, f"R{fault}") == 1


@pytest.mark.parametrize("fault", ["cut_before", "cut_halfway"])
def test_what_is_cut_on_the_way_there_never_arrives(provider: Sim, fault: str) -> None:
    assert not is_answered(provider, fault, f"R{fault}")
    assert submissions(provider, f"R{fault}") == 0


def test_what_is_cut_on_the_way_back_was_executed(provider: Sim) -> None:
    assert not is_answered(provider, "cut_after", "RCUT")
    assert submissions(provider, "RCUT") == 1
    assert provider.entry("RCUT")["executions"] == 1


def test_a_repeated_request_arrives_twice_unless_its_provider_would_execute_both(
    provider: Sim,
) -> None:
    for refund, path in (("RTWICE", HKRT), ("RONCE", QUICKPAY)):
        with Proxy(1, {"repeated": 1.0}, once=ONCE) as proxy:
            assert post(proxy, provider, refund, path).status_code == 200
            if refund == "RTWICE":
                await_true(lambda: submissions(provider, "RTWICE") == 2)
    assert submissions(provider, "RONCE") == 1
    assert provider.entry("RTWICE")["executions"] == 1


def test_a_connection_is_kept_and_each_request_on_it_draws_anew(provider: Sim) -> None:
    weights = {"delayed": 0.05, "dripped": 0.1}
    expected = [misfortune(3, number, weights).fault for number in range(1, 41)]
    with Proxy(3, weights) as proxy, requests.Session() as session:
        url = proxy.before(provider.url)
        for number in range(40):
            body = quick_body(f"RKEPT{number}")
            assert session.post(url + QUICKPAY, json=body, timeout=10).ok
    assert proxy.counts == Counter(expected)
    assert proxy.counts["dripped"] > 0
