"""A wake is a hint: whatever becomes of it, what was accepted stays accepted."""

import importlib

import pytest

from tests.integration.builders import Shop


def test_no_fault_of_a_transport_makes_a_refusal_of_what_was_accepted(
    shop: Shop, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUNDRY_BROKER_URL", valkey)
    intake, app = importlib.import_module("tasks.intake"), importlib.import_module("worker.app").app
    producers = app.amqp.producer_pool
    monkeypatch.setattr(intake, "get_runtime", lambda: shop.runtime)
    monkeypatch.setattr(producers, "_closed", True)  # kombu raises a RuntimeError of its own then
    intake.request(**shop.job(announce={"task": "shop.told"}))
    assert shop.state() == "queued"
    assert shop.rows("SELECT code FROM refused_jobs") == []
    assert [row.event for row in shop.rows("SELECT event FROM announcements")] == ["accepted"]
