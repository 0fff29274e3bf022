"""A fault in the midst of secrets: what is told of it names kind and place, and no words."""

from __future__ import annotations

import importlib
import io
import logging
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from celery.exceptions import Reject
from sqlalchemy import select

from config.errors import ConfigError
from config.logs import configure_logging
from refundry import State
from tests.integration.builders import MINUTE, Shop
from tests.integration.conftest import MakeShop, copied
from tests.providers.conformance import PAID_AT
from tests.providers.harness import FILES, OWN_OPTIONS, account
from tests.simulator.harness import APPID, Sim
from worker.cli import app
from worker.ledger.engine import Ledger
from worker.ledger.tables import metadata
from worker.providers.base import load_provider
from worker.refund import Verdict
from worker.seal_keys import new_key
from worker.seals import Seals
from worker.steps.poll import poll
from worker.steps.submit import submit

SECRET = "HUNTER2"
PROVIDERS = pytest.mark.parametrize("name", sorted(FILES))


@pytest.fixture
def ledger(sqlite_template: Path, tmp_path: Path) -> Iterator[Ledger]:
    """On one database: what is told of a fault does not hang on it."""
    with copied(sqlite_template, tmp_path) as one:
        yield one


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a process would write to standard error."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configure_logging()
    structlog.configure(cache_logger_on_first_use=False)  # a kept logger outlives the test
    yield written
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def failing(*_: object) -> Any:
    """Code that trips over what it holds, and says it."""
    key = SECRET  # what a traceback with local variables would show as well
    raise KeyError(f"no such field in {key}")


def shop_of(name: str, ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str) -> Shop:
    url = sim.url + FILES[name]["subject"]["prefix"]
    shop = make_shop(ledger, shop={"provider": name, "base_url": url} | OWN_OPTIONS[name])
    prefix = APPID if name == "guanaitong" else ""
    job = {"order_no": f"{prefix}O{number}"[:32], "refund_no": f"{prefix}{number}"[:32]}
    shop.usual |= job | {"reason": "r", "paid_at": PAID_AT.isoformat(timespec="seconds")}
    shop.runtime = replace(shop.runtime, seals=Seals([new_key()]))
    return shop


def everything(shop: Shop, log: io.StringIO) -> str:
    with shop.runtime.ledger.read() as connection:
        tables = [str(connection.execute(select(t)).all()) for t in metadata.sorted_tables]
    return log.getvalue() + "".join(tables)


@PROVIDERS
@pytest.mark.parametrize("where", ["submission", "read_submission", "question", "read_reply"])
def test_a_fault_of_a_providers_code_tells_no_secret_and_loses_no_refund(
    where: str,
    name: str,
    ledger: Ledger,
    make_shop: MakeShop,
    sim: Sim,
    number: str,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = shop_of(name, ledger, make_shop, sim, number)
    monkeypatch.setattr(shop.runtime.lines["shop"].provider, where, failing)
    intent = None if where.endswith("submission") else shop.claim(shop.accept().order_id)
    if intent is not None:
        shop.settle(intent, Verdict.UNKNOWN)
        shop.wait(10 * MINUTE)
        poll(shop.runtime)
    else:
        submit(shop.runtime, shop.accept().order_id)
    assert SECRET not in everything(shop, log)
    assert '"kind": "KeyError"' in log.getvalue() or where == "question"
    left = {"submission": State.QUEUED}.get(where, State.UNKNOWN)
    assert shop.state(shop.usual["refund_no"]) is left


def test_a_fault_of_intake_tells_nothing_of_the_job(
    shop: Shop, log: io.StringIO, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUNDRY_BROKER_URL", valkey)
    intake = importlib.import_module("tasks.intake")
    monkeypatch.setattr(intake, "get_runtime", lambda: shop.runtime)
    monkeypatch.setattr(intake, "take_job", failing)
    intake.request(**shop.job())
    assert SECRET not in everything(shop, log)
    assert shop.value("SELECT code FROM refused_jobs") == "internal"
    monkeypatch.setattr(intake, "refuse", failing)
    monkeypatch.setattr(intake, "_PUT_BACK_S", 0)
    with pytest.raises(Reject) as put_back:
        intake.request(**shop.job())
    assert SECRET not in log.getvalue() + repr(put_back.value)


def test_no_log_and_no_command_shows_the_variables_of_a_traceback(log: io.StringIO) -> None:
    for name in ("ours", "theirs"):
        try:
            failing_within(f"{SECRET}-of-{name}")
        except RuntimeError:
            logger: Any = structlog.get_logger() if name == "ours" else logging.getLogger(name)
            logger.exception("fault")
    assert "Traceback" in log.getvalue()
    assert SECRET not in log.getvalue()
    assert not app.pretty_exceptions_enable


def failing_within(secret: str) -> None:
    kept = {"secret": secret}
    raise RuntimeError(f"{len(kept)} fault")


SPOILT: dict[str, dict[str, Any]] = {
    "hkrt": {"access_key": SECRET, "channel": "../x"},
    "quickpay": {"signing": "md5", "sign_key": SECRET, "headers": SECRET},
    "guanaitong": {"appsecret": SECRET, "exists_codes": {"x": SECRET}},
    "baofu": {"private_key": SECRET, "private_key_password": SECRET},
}


@PROVIDERS
def test_a_wrong_setting_shows_no_secret_in_a_traceback_either(name: str) -> None:
    """Pydantic's own errors show what they were given."""
    with pytest.raises(ConfigError) as caught:
        load_provider(account(name, **SPOILT[name]))
    assert SECRET not in "".join(traceback.format_exception(caught.value))
