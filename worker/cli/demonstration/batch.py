"""The demonstration's batch: refunds, and what the simulator does to each."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from worker.supervisor.simulated import APPID

#: Draws the amounts; the same numbers in every run.
_SEED: Final = 7
_ORDERS_PER_PROVIDER: Final = 4
_REFUNDS_PER_ORDER: Final = 4
ACCOUNTS: Final = {
    "quickpay": "shop-quickpay",
    "hkrt": "shop-hkrt",
    "baofu": "shop-baofu",
    "guanaitong": "shop-gat",
}
#: What a provider's numbers have to begin with.
_BEGINNINGS: Final = {"guanaitong": APPID}


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong with a refund, in words and as the simulator's plan."""

    words: str
    fate: str = "succeed"
    submit: tuple[str, ...] = ()
    query: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DemoRefund:
    """One refund of the batch; amounts in fen."""

    provider: str
    order_no: str
    refund_no: str
    amount: int
    order_amount: int
    trouble: Trouble
    #: Providers refund nothing that was paid long ago.
    paid_at: datetime
    #: Asks for more than is left of what was paid, so intake must refuse it.
    exceeds: bool = False

    @property
    def account(self) -> str:
        """The account that serves it."""
        return ACCOUNTS[self.provider]

    def job(self) -> dict[str, Any]:
        """The keyword arguments of ``refunds.request``."""
        return {
            "account": self.account,
            "order_no": self.order_no,
            "refund_no": self.refund_no,
            "amount": self.amount,
            "order_amount": self.order_amount,
            "paid_at": self.paid_at.isoformat(),
            "reason": "demonstration",
            "operator": "demo",
        }

    def plan(self) -> dict[str, Any]:
        """The entry for the simulator's ``/_sim/plan``."""
        return {
            "provider": self.provider,
            "refund": self.refund_no,
            "fate": [self.trouble.fate],
            "submit": list(self.trouble.submit),
            "query": list(self.trouble.query),
        }


_NONE: Final = Trouble(words="")
#: Nobody who does not deduplicate is sent these again: a person has to.
_BEFORE: Final = (
    Trouble(words="500 before the provider acted", submit=("http_500_before",)),
    Trouble(words="reset before the provider acted", submit=("reset_before",)),
)
_COMMON: Final = (
    Trouble(words="pending for two questions", fate="pending:2"),
    Trouble(words="pending, then declined by the bank", fate="pending_decline:2"),
    Trouble(words="timeout after the provider acted", submit=("timeout_after",)),
    Trouble(words="500 after the provider acted", submit=("http_500_after",)),
    Trouble(words="truncated answer", submit=("truncated",)),
    Trouble(
        words="reset after the provider acted, then a false not-found",
        submit=("reset_after",),
        query=("not_found", "not_found"),
    ),
    Trouble(words="declined by the provider", fate="decline"),
    Trouble(words="unknown for two questions", fate="unknown:2"),
)
_SENSELESS: Final = Trouble(words="answer without sense", submit=("garbage",))
_TOKEN_REFUSED: Final = Trouble(words="access token refused once", submit=("token_refused",))
_BADLY_SIGNED: Final = Trouble(words="badly signed answer", submit=("bad_signature",))
#: Spread over the orders: the first of every order, then the second of every order, and so on.
_TROUBLES: Final = {
    "quickpay": (*_BEFORE, *_COMMON, _SENSELESS),
    "hkrt": (*_BEFORE, *_COMMON, _BADLY_SIGNED),
    "baofu": (*_BEFORE, *_COMMON, _BADLY_SIGNED),
    "guanaitong": (*_COMMON, _SENSELESS, _TOKEN_REFUSED),
}
_EXCEEDS: Final = Trouble(words="asks for more than is left")


def make_batch(run: str) -> list[DemoRefund]:
    """64 refunds of 16 orders and one that exceeds its order, last; ``run`` is in every number."""
    draw, paid_at = random.Random(_SEED), datetime.now(UTC) - timedelta(days=1)
    batch = [
        refund for provider in ACCOUNTS for refund in _of_provider(provider, run, draw, paid_at)
    ]
    batch.sort(key=lambda refund: refund.refund_no[-1])
    paid_up = batch[0]
    exceeding = replace(
        paid_up,
        refund_no=f"{paid_up.refund_no[:-1]}X",
        amount=paid_up.order_amount,
        trouble=_EXCEEDS,
        exceeds=True,
    )
    return [*batch, exceeding]


def _of_provider(
    provider: str, run: str, draw: random.Random, paid_at: datetime
) -> list[DemoRefund]:
    troubles = iter(_TROUBLES[provider])
    refunds = []
    for turn in range(_REFUNDS_PER_ORDER):
        for order in range(_ORDERS_PER_PROVIDER):
            number = f"{run}{provider[0].upper()}{order:02d}"
            begins = _BEGINNINGS.get(provider, "")
            order_amount = 10_000 + 1_000 * order
            refunds.append(
                DemoRefund(
                    provider=provider,
                    order_no=f"{begins}D{number}",
                    refund_no=f"{begins}R{number}{turn}",
                    amount=draw.randrange(100, order_amount // _REFUNDS_PER_ORDER),
                    order_amount=order_amount,
                    trouble=next(troubles, _NONE),
                    paid_at=paid_at,
                )
            )
    return refunds
