"""What producers ask for: the n-th order and its refunds, a pure function of the seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from simulator.draws import chance, pick
from tests.e2e.stack import BEGINNINGS, PAID_AT, PROVIDERS, Job

#: What is wrong with an order's jobs; most have nothing wrong.
ODDITIES: Final = {
    "too_much": 0.03,  # together more than was paid
    "sent_twice": 0.04,  # the same job again
    "conflicting": 0.02,  # the same number again, with another amount
    "double_click": 0.02,  # the same wish twice, under two numbers
}
#: How many of the orders are asked for over HTTP, and how many want to be told.
BY_HTTP: Final = 0.08
TOLD: Final = 0.1
#: How many are executed and then told of as declined, rightly signed.
CONTRADICTED: Final = 0.01
ORDER_AMOUNT: Final = 1000
HOT_REFUNDS: Final = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """One job and what may rightly become of it."""

    job: Job
    #: The provider notifies the opposite of what it did.
    contradicted: bool = False
    by_http: bool = False
    #: Codes with which it may be refused; of the orders' normal jobs, none.
    refusable: frozenset[str] = frozenset()

    @property
    def number(self) -> str:
        """The refund's."""
        return str(self.job["refund_no"])


def wishes(seed: int, number: int, url: str, refunds: int = 0) -> Iterator[Wish]:
    """The jobs of the order of that number; ``refunds`` of them where it is a hot one.

    Args:
        seed: of every draw.
        number: of the order, from 1.
        url: where producers are told.
        refunds: how many; 0 draws 1 to 5.
    """

    def draw(what: str) -> float:
        return chance(seed, "load", what, number)

    account = list(PROVIDERS)[int(draw("account") * len(PROVIDERS))]
    oddity = "none" if refunds else pick(ODDITIES, "none", draw("oddity"))
    count = refunds or 1 + int(draw("count") * 5)
    first = Wish(
        job=_job(account, f"S{seed}N{number:06d}", url if draw("told") < TOLD else ""),
        by_http=draw("http") < BY_HTTP,
    )
    most = ORDER_AMOUNT // count
    for part in range(1, count + 1):
        amount = 1 + int(chance(seed, "load", "amount", number, part) * most)
        contradicted = chance(seed, "load", "contradicted", number, part) < CONTRADICTED
        yield from _odd(_part(first, part, amount, contradicted), oddity)


def _job(account: str, name: str, url: str) -> Job:
    begins = BEGINNINGS.get(account, "")
    job: Job = {"account": account, "order_no": f"{begins}{name}", "refund_no": f"{begins}{name}R"}
    job |= {"order_amount": ORDER_AMOUNT, "reason": "returned", "paid_at": PAID_AT.isoformat()}
    return job | ({"announce": {"url": url}} if url else {})


def _part(order: Wish, part: int, amount: int, contradicted: bool) -> Wish:
    job = {**order.job, "refund_no": f"{order.job['refund_no']}{part:02d}", "amount": amount}
    return replace(order, job=job, contradicted=contradicted)


def _odd(wish: Wish, oddity: str) -> Iterator[Wish]:
    job = wish.job
    match oddity:
        case "too_much":
            job = {**job, "amount": ORDER_AMOUNT // 2 + 1}
            yield replace(wish, job=job, refusable=frozenset({"over_refund"}))
        case "sent_twice":
            yield from (wish, wish)
        case "conflicting":
            wish = replace(wish, refusable=frozenset({"number_used"}))
            yield from (wish, replace(wish, job={**job, "amount": job["amount"] + 1}))
        case "double_click":
            job = {**job, "expected_refunded": 0}
            for again in ("A", "B"):
                one = {**job, "refund_no": f"{job['refund_no']}{again}"}
                yield replace(wish, job=one, refusable=frozenset({"expected_refunded"}))
        case _:
            yield wish
