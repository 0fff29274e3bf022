"""Notifications as a provider would send them, for tests that take them by themselves."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from simulator.providers.baofu_envelope import signature as baofu_signature
from tests.integration.builders import NOWHERE, Shop
from tests.integration.conftest import MakeShop
from tests.providers.harness import BAOFU, FILES, OWN_OPTIONS, hkrt_signed
from tests.simulator.ear import Ear, ear
from tests.simulator.harness import Sim
from worker.ledger.engine import Ledger
from worker.ledger.tables import refunds
from worker.providers.http import form_body
from worker.refund import Verdict
from worker.steps.intent import Intent
from worker.steps.notify import Taken, take_notification

ACKNOWLEDGED = b'{"return_code":"SUCCESS"}'
EXECUTED, DECLINED, IN_PROGRESS = "1", "2", "3"


def hkrt_account(**more: Any) -> dict[str, Any]:
    """An account of hkrt that is notified."""
    urls = {"base_url": f"{NOWHERE}/hk", "notify_url": f"{NOWHERE}/callbacks/shop"}
    return {"provider": "hkrt", **urls, **OWN_OPTIONS["hkrt"], **more}


@contextmanager
def told_shop(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, provider: str, **more: Any
) -> Iterator[tuple[Shop, Ear]]:
    """A shop whose provider is the simulator's, and the address that it notifies over HTTP."""
    shops: list[Shop] = []

    def answer(content_type: str, body: bytes) -> tuple[int, bytes]:
        said = take_notification(shops[0].runtime, "shop", content_type, body).answer
        return said.status, said.body

    with ear(answer) as one:
        base_url = sim.url + FILES[provider]["subject"]["prefix"]
        own = {"provider": provider, "base_url": base_url, "notify_url": one.url}
        shops.append(make_shop(ledger, shop=own | OWN_OPTIONS[provider] | more))
        yield shops[0], one


def notification(status: str, *, refund_no: str = "R1", fen: int = 10, **more: Any) -> bytes:
    """What hkrt says of a refund of the shop."""
    said = {"out_refund_no": refund_no, "refund_no": "WX1", "trade_status": status}
    amount = f"{fen // 100}.{fen % 100:02d}"
    return hkrt_signed(json.dumps(said | {"refund_amount": amount} | more))


def take(shop: Shop, body: bytes, account: str = "shop") -> Taken:
    return take_notification(shop.runtime, account, "application/json", body)


def baofu_notification(state: str, *, refund_no: str = "R1", **more: Any) -> bytes:
    """What Baofu says of a refund of the shop, in a form."""
    content = {"merId": "100000", "terId": "100001", "tradeNo": "BF1", "outTradeNo": refund_no}
    text = json.dumps(content | {"refundState": state} | more)
    signed = {"signStr": baofu_signature(BAOFU.private_key, text), "dataContent": text}
    return form_body({"notifyType": "REFUND", **signed})


def sent(shop: Shop, verdict: Verdict | None = Verdict.PENDING, **job: Any) -> Intent:
    """A refund whose first attempt was answered so; None: its answer is still on its way."""
    intent = shop.claim(shop.accept(**job).order_id)
    assert intent is not None
    if verdict:
        shop.settle(intent, verdict)
    return intent


def due_in(shop: Shop, refund_no: str = "R1") -> timedelta | None:
    of_refund = select(refunds.c.due_at).where(refunds.c.refund_no == refund_no)
    with shop.runtime.ledger.read() as connection:
        due_at = connection.execute(of_refund).scalar_one()
    return due_at - shop.clock.now if due_at else None


def stored(shop: Shop) -> list[Any]:
    query = "SELECT refund_id, refund_no, verdict, stale, times FROM callbacks ORDER BY id"
    return [tuple(row) for row in shop.rows(query)]


def counted(shop: Shop) -> dict[tuple[str, str], int]:
    rows = shop.rows("SELECT account, code, times FROM refused_callbacks")
    return {(row.account, row.code): row.times for row in rows}


def kinds(shop: Shop) -> list[str]:
    return [row.kind for row in shop.rows("SELECT kind FROM events ORDER BY refund_id, seq")]


def cases(shop: Shop) -> list[str]:
    return [row.kind for row in shop.rows("SELECT kind FROM cases ORDER BY id")]
