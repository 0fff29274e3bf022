"""Refunds that were paid on one day, by raw SQL, and the bill that their provider writes."""

from collections import Counter
from pathlib import Path

from tests.integration.builders import NOW, insert, run
from worker.ledger.engine import Ledger
from worker.refund import request_digest

DAY = "2026-01-31"
HEAD = "refund,theirs,order,amount,day,state\n"
LAYOUT = """
[accounts.shop.statement]
columns = { refund_no = "refund", provider_refund_no = "theirs", order_no = "order", \
amount = "amount", at = "day", state = "state" }
succeeded = ["ok"]
failed = ["no"]
complete_after_h = 0
"""
#: Lines between two that differ, each in another way than the one before.
APART = 50
#: What intake keeps of a refund with its first event; the audit compares.
ACCEPTED = (
    '{"account": "shop", "order_no": "O\' || n || \'", "refund_no": "R\' || n || \'", '
    '"amount": \' || (100 + n % 900) || \', "order_amount": 1000, "paid_amount": 1000, '
    '"refunded_before": 0, "request": "DIGEST"}'
)
ENDED = '{"holds": false, "sent": 1, "open_sent": 0, "verdict": "succeeded"}'
ORDERS = """
INSERT INTO orders (id, merchant, order_no, currency, order_amount, paid_amount, paid_stated,
  refunded_before, before_stated, reserved, refunded, created_at)
SELECT n, 'quickpay/shop', 'O' || n, 'CNY', 1000, 1000, TRUE, 0, TRUE, 0, 100 + n % 900, :now
  FROM numbers
"""
REFUNDS = """
INSERT INTO refunds (id, order_id, account, merchant, refund_no, amount, state, holds_order,
  releases, event_seq, attempt, sent, open_sent, known, not_found, provider_refund_no, fingerprint,
  request, accepted_at, state_at)
SELECT n, n, 'shop', 'quickpay/shop', 'R' || n, 100 + n % 900, 'succeeded', FALSE, FALSE, 2, 1, 1,
  0, FALSE, 0, 'P' || n, 'f', '{}', :now, AT FROM numbers
"""
#: One came to its end after the other, a millisecond apart.
ATS = {
    "postgresql": "CAST(:now AS timestamptz) + n * interval '1 millisecond'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', :now, '+' || (n / 1000.0) || ' seconds')",
}
EVENT = """
INSERT INTO events (refund_id, seq, state, at, kind, attempt, detail)
SELECT n, {seq}, '{state}', :now, 'loaded', {attempt}, CAST('{detail}' AS {json}) FROM numbers
"""
ATTEMPTS = """
INSERT INTO attempts (refund_id, number, status, fingerprint, started_at, lease_until)
SELECT n, 1, 'succeeded', 'f', :now, :now FROM numbers
"""


def load(ledger: Ledger, count: int) -> None:
    """So many refunds of so many orders, paid on the day; nothing of them goes on."""
    dialect = ledger.engine.dialect.name
    on_postgresql = dialect == "postgresql"
    json = "jsonb" if on_postgresql else "text"
    accepted = ACCEPTED.replace("DIGEST", request_digest({}))
    first = {"seq": 1, "state": "queued", "attempt": 0, "detail": accepted, "json": json}
    last = {"seq": 2, "state": "succeeded", "attempt": 1, "detail": ENDED, "json": json}
    numbers = (
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL "
        f"SELECT n + 1 FROM numbers WHERE n < {count}) SELECT"
    )
    with ledger.write() as connection:
        run(connection, f"DROP TRIGGER refunds_begin_queued{' ON refunds' * on_postgresql}")
        insert(connection, "accounts", name="shop", provider="quickpay", merchant="quickpay/shop")
        ended = REFUNDS.replace("AT FROM", f"{ATS[dialect]} FROM")
        for sql in (ORDERS, ended, EVENT.format(**first), EVENT.format(**last), ATTEMPTS):
            run(connection, sql.replace("SELECT", numbers, 1), now=NOW)


def bill(path: Path, count: int, apart: int = APART) -> Counter[str]:
    """Write the day's bill of as many refunds; the cases that its differences have to open."""
    expected: Counter[str] = Counter()
    with path.open("w") as file:
        file.write(HEAD)
        for number in range(1, count + 1):
            if number % apart:
                file.write(line_of(number))
            else:
                kind, lines = next_kind(number, number // apart)
                expected[kind] += 1
                file.writelines(lines)
    return expected


def line_of(number: int, order: str = "O", state: str = "ok", more: int = 0) -> str:
    """What the bill says of a refund; ``more`` fen than were paid."""
    fen = 100 + number % 900 + more
    amount = f"{fen // 100}.{fen % 100:02d}"
    return f"R{number},P{number},{order}{number},{amount},{DAY} 12:00:00,{state}\n"


def next_kind(number: int, turn: int) -> tuple[str, list[str]]:
    """How a refund's line is made to differ: the kind of its case, and the lines."""
    line = line_of(number)
    made = {
        "amount_differs": [line_of(number, more=1)],
        "state_differs": [line_of(number, state="no")],
        "doubled": [line, line],
        "missing": [],
        "mismatched": [line_of(number, order="OTHER")],
        "unrecorded": [line, f"X{number},,O{number},0.01,{DAY},ok\n"],
        "not_ours": [line, f"Y{number},,NEVER{number},0.01,{DAY},ok\n"],
    }
    return list(made.items())[turn % len(made)]
