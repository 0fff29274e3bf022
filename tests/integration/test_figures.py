"""Order figures: asked for outside any transaction, kept on the order, compared with ours."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.builders import Shop
from tests.integration.command_line import installed, invoke
from tests.integration.conftest import MakeShop
from tests.integration.notifications import hkrt_account, sent
from tests.providers.harness import OWN_OPTIONS, RawServer
from tests.simulator.harness import BAOFU_KEYS, Sim
from worker.errors import NoAnswer, NotSent, Refused
from worker.ledger.engine import Ledger
from worker.refund import Figures, Outcome, Verdict
from worker.steps.figures import Compared, ask_figures, compare_figures
from worker.steps.poll import Claimed, _claim, apply, poll
from worker.steps.settle import settle
from worker.steps.submit import submit

PAID_AT = (datetime.now(UTC) - timedelta(days=1)).isoformat()
MARKETING = {"extra": {"mktRefundInfo": {"mktMerId": "100000", "mktAmt": 20}}}


@pytest.fixture
def baofu(ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str) -> Shop:
    """An order of 100 fen at the simulated Baofu."""
    own = {"provider": "baofu", "base_url": f"{sim.url}/bf/api", **OWN_OPTIONS["baofu"]}
    shop = make_shop(ledger, shop=own)
    shop.usual |= {"order_no": number, "reason": "returned", "paid_at": PAID_AT}
    sim.control("orders", [{"provider": "baofu", "order": number, "paid": 100}])
    return shop


def refund(shop: Shop, refund_no: str, amount: int, **more: Any) -> None:
    """A refund from intake to its end."""
    order_id = shop.accept(refund_no=refund_no, amount=amount, **more).order_id
    submit(shop.runtime, order_id)
    shop.wait(timedelta(hours=1))
    poll(shop.runtime)
    assert shop.state(refund_no) == "succeeded"


def kept(shop: Shop) -> tuple[Any, ...]:
    (row,) = shop.rows("SELECT provider_refunded, provider_left FROM orders")
    return tuple(row)


def test_figures_are_asked_for_and_kept_and_agree(baofu: Shop, number: str) -> None:
    refund(baofu, f"{number[:20]}A", 30)
    assert ask_figures(baofu.runtime, "shop", number) == Figures(refunded=30, left=70)
    assert kept(baofu) == (30, 70)
    compared = compare_figures(baofu.runtime, "shop", number)
    assert compared.agree
    assert (compared.ours, compared.at) == (compared.theirs, baofu.clock.now)


def test_marketings_part_counts_in_the_orders_total(baofu: Shop, number: str) -> None:
    refund(baofu, f"{number[:20]}A", 50, **MARKETING, paid_amount=80)
    compared = compare_figures(baofu.runtime, "shop", number)
    assert compared.agree
    assert compared.ours == compared.theirs == Figures(refunded=50, left=50)


def test_what_is_under_way_may_be_on_either_side(baofu: Shop, number: str) -> None:
    order_id = baofu.accept(refund_no=f"{number[:20]}A", amount=30).order_id
    before = compare_figures(baofu.runtime, "shop", number)
    assert (before.agree, before.theirs) == (True, Figures(refunded=0, left=100))
    submit(baofu.runtime, order_id)
    after = compare_figures(baofu.runtime, "shop", number)
    assert (after.agree, after.theirs) == (True, Figures(refunded=30, left=70))
    assert after.ours == before.ours == Figures(refunded=0, left=70)


def test_a_refund_that_the_ledger_does_not_know_is_a_difference(
    baofu: Shop, number: str, sim: Sim
) -> None:
    refund(baofu, f"{number[:20]}A", 30)
    baofu.execute("UPDATE orders SET refunded_before = 10")
    compared = compare_figures(baofu.runtime, "shop", number)
    assert not compared.agree
    assert compared.ours == Figures(refunded=40, left=60)


def test_a_total_that_the_provider_sees_otherwise_is_a_difference() -> None:
    ours = Figures(refunded=10, left=90)

    def agree(theirs: Figures) -> bool:
        return Compared(ours=ours, theirs=theirs, under_way=0, at=datetime.now(UTC)).agree

    assert agree(ours)
    assert agree(Figures(refunded=10))
    assert not agree(Figures(refunded=10, left=91))
    assert not agree(Figures(refunded=9, left=90))


def test_of_answers_that_overlap_the_one_that_says_more_refunded_is_kept(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    shop = make_shop(ledger, shop=hkrt_account(serialisation="until_accepted"))
    for refund_no in ("R1", "R2"):
        sent(shop, refund_no=refund_no)
    first, second = claim_all(shop)
    answer(shop, second, Figures(refunded=20, left=80))
    answer(shop, first, Figures(refunded=10, left=90))  # on its way for longer
    assert kept(shop) == (20, 80)
    answer(shop, claim_all(shop)[0], Figures(refunded=10, left=90))  # one has failed since
    assert kept(shop) == (10, 90)


def claim_all(shop: Shop) -> list[Claimed]:
    shop.wait(timedelta(hours=1))
    return _claim(shop.runtime, shop.runtime.lines["shop"], 10)


def answer(shop: Shop, claimed: Claimed, figures: Figures) -> None:
    shop.wait(timedelta(seconds=1))
    apply(shop.runtime, claimed, Outcome(verdict=Verdict.PENDING, figures=figures))


def test_no_transaction_is_open_while_the_provider_is_asked(
    ledger: Ledger, make_shop: MakeShop
) -> None:
    free: list[int] = []

    def look(peer: Any) -> None:
        peer.request()
        free.append(ledger.engine.pool.checkedout())  # type: ignore[attr-defined]

    with RawServer(look) as server:
        own = {"provider": "baofu", "base_url": server.url, **OWN_OPTIONS["baofu"]}
        shop = make_shop(ledger, shop=own)
        shop.accept(reason="returned", paid_at=PAID_AT)
        with pytest.raises(NoAnswer):
            ask_figures(shop.runtime, "shop", "O1")
    assert free == [0]
    assert kept(shop) == (None, None)


def test_older_figures_never_replace_newer_ones(baofu: Shop, number: str) -> None:
    baofu.accept(refund_no=f"{number[:20]}A", amount=30)
    later = baofu.clock.now + timedelta(seconds=1)
    baofu.execute("UPDATE orders SET provider_refunded = 77, figures_at = :later", later=later)
    assert ask_figures(baofu.runtime, "shop", number).refunded == 0
    assert kept(baofu)[0] == 77


class TestNotAsked:
    def test_a_provider_that_cannot_be_asked_shows_what_its_answers_left(self, shop: Shop) -> None:
        intent = shop.claim(shop.accept().order_id)
        assert intent is not None
        said = Figures(refunded=10, left=90)
        settle(shop.runtime, intent, Outcome(verdict=Verdict.SUCCEEDED, figures=said))
        assert ask_figures(shop.runtime, "shop", "O1") == said
        assert compare_figures(shop.runtime, "shop", "O1").agree

    def test_where_there_are_no_figures_it_says_so(self, shop: Shop) -> None:
        shop.accept()
        with pytest.raises(Refused, match="quickpay is not asked"):
            ask_figures(shop.runtime, "shop", "O1")

    @pytest.mark.parametrize(("account", "order_no"), [("shop", "O2"), ("nobody", "O1")])
    def test_an_order_or_account_that_is_not_there_is_named(
        self, account: str, order_no: str, shop: Shop
    ) -> None:
        shop.accept()
        with pytest.raises(Refused, match=r"O2|nobody"):
            ask_figures(shop.runtime, account, order_no)

    def test_nobody_is_asked_where_the_query_is_off_or_the_rate_limit_is_used_up(
        self, ledger: Ledger, make_shop: MakeShop, number: str
    ) -> None:
        few = number  # the limits live in a Redis that tests share
        own = {"provider": "baofu", "base_url": "http://127.0.0.1:9", **OWN_OPTIONS["baofu"]}
        accounts = {
            "off": own | {"query": False, "mer_id": "1"},
            few: own | {"rate_limit": "1/day", "mer_id": "2"},
        }
        shop = make_shop(ledger, **accounts)
        for account in accounts:
            shop.accept(account=account, refund_no=account, reason="returned", paid_at=PAID_AT)
        with pytest.raises(Refused, match="not asked"):
            ask_figures(shop.runtime, "off", "O1")
        with pytest.raises(NotSent):
            ask_figures(shop.runtime, few, "O1")
        with pytest.raises(Refused, match="asked its most"):
            ask_figures(shop.runtime, few, "O1")


class TestCommand:
    @pytest.fixture
    def run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sim: Sim, number: str, valkey: str
    ) -> Iterator[Callable[..., tuple[int, str]]]:
        """Runs ``refundry figures`` on a ledger with one queued refund."""
        accounts = (
            f'[accounts.shop]\nprovider = "baofu"\nbase_url = "{sim.url}/bf/api"\n'
            f'mer_id = "100000"\nter_id = "100001"\n'
            f'private_key = "file:{BAOFU_KEYS / "merchant.pem"}"\n'
            f'provider_public_key = "file:{BAOFU_KEYS / "baofu.pub.pem"}"\n'
        )
        runtime = installed(tmp_path, monkeypatch, accounts, valkey)
        shop = Shop(runtime=runtime, clock=None)  # type: ignore[arg-type]
        shop.accept(order_no=number, refund_no=number, reason="r", paid_at=PAID_AT)

        def run(*arguments: str) -> tuple[int, str]:
            done = invoke("figures", number, "--account=shop", *arguments)
            return done.exit_code, done.stdout

        yield run
        runtime.ledger.engine.dispose()

    def test_it_ends_with_0_where_they_agree_1_where_they_differ_and_3_where_nobody_says(
        self, run: Callable[..., tuple[int, str]], sim: Sim, number: str
    ) -> None:
        with pytest.raises(SystemExit, match="3"):  # the provider does not know the order
            run()
        sim.control("orders", [{"provider": "baofu", "order": number, "paid": 100}])
        code, said = run("--json")
        shown = json.loads(said)
        assert (code, shown["agree"], shown["under_way"]) == (0, True, 10)
        assert shown["ours"] == {"refunded": 0, "left": 90}
        assert shown["theirs"] == {"refunded": 0, "left": 100}
        sim.control("orders", [{"provider": "baofu", "order": number, "paid": 200}])
        code, said = run()
        assert code == 1
        assert "differ" in said
