"""The two calls of a refund and its row, as an application without Refundry would write them.

Each thread has a connection of its own to provider and database, kept as long as it lives: nothing
is quicker. A statement is a transaction of its own, for none has a second one.
"""

import os
import threading
from functools import cached_property
from typing import Any, Final

import psycopg
import requests
from sqlalchemy import make_url

_TIMEOUT_S: Final = 30

TABLE: Final = """
CREATE TABLE refunds (
    refund_no varchar(64) PRIMARY KEY,
    order_no varchar(64) NOT NULL,
    amount bigint NOT NULL,
    state varchar(16) NOT NULL
)
"""
_INSERT: Final = (
    "INSERT INTO refunds (refund_no, order_no, amount, state) VALUES (%s, %s, %s, 'submitting')"
    " ON CONFLICT DO NOTHING"
)
_UPDATE: Final = "UPDATE refunds SET state = %s WHERE refund_no = %s"


class _Own(threading.local):
    """One thread's connections, made when they are first needed."""

    @cached_property
    def session(self) -> requests.Session:
        return requests.Session()

    @cached_property
    def database(self) -> psycopg.Connection[Any]:
        return psycopg.connect(database_url(), autocommit=True)


_own: Final = _Own()


def database_url() -> str:
    """The contender's database, as everybody but SQLAlchemy writes it."""
    url = make_url(os.environ["BENCH_DATABASE_URL"]).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


def note_refund(job: dict[str, Any]) -> None:
    """Write the refund's row, before it is sent."""
    _own.database.execute(_INSERT, (job["refund_no"], job["order_no"], job["amount"]))


def note_state(refund_no: str, state: str) -> None:
    """Write down what the provider said."""
    _own.database.execute(_UPDATE, (state, refund_no))


def submit_refund(job: dict[str, Any]) -> str:
    """The provider's status of the refund."""
    fields = {
        "store_no": "S1",
        "operator": "ops",
        "amount": job["order_amount"],
        "refund_amount": job["amount"],
        "order_no": job["order_no"],
        "refund_no": job["refund_no"],
    }
    return _post("/QuickPay/Refund", fields)


def ask_refund(order_no: str, refund_no: str) -> str:
    """The provider's status of the refund."""
    fields = {"store_no": "S1", "order_no": order_no, "refund_order_no": refund_no}
    return _post("/QuickPay/RefundQuery", fields)


def _post(path: str, fields: dict[str, Any]) -> str:
    url = os.environ["BENCH_PROVIDER_URL"] + path
    answer = _own.session.post(url, json=fields, timeout=_TIMEOUT_S)
    answer.raise_for_status()
    status: str = answer.json()["data"]["transaction_status"]
    return status
