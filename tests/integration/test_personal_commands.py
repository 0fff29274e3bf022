"""``refundry personal``: a key, what is sealed with which, sealing and purging by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.settings import load_settings
from tests.integration.command_line import installed, invoke
from tests.simulator.harness import APPID
from worker.runtime import Runtime, build_runtime
from worker.steps import intake
from worker.steps.command import cancel_refund
from worker.steps.intake import accept

ACCOUNTS = f"""
[accounts.ga]
provider = "guanaitong"
base_url = "http://127.0.0.1:9"
appid = "{APPID}"
appsecret = "s"
"""
JOB = {
    "account": "ga",
    "order_no": f"{APPID}O1",
    "refund_no": f"{APPID}R1",
    "amount": 1,
    "order_amount": 2,
    "reason": "r",
    "extra": {"recipientName": "PLANTED"},
}


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    return installed(tmp_path, monkeypatch, ACCOUNTS)


def set_keys(monkeypatch: pytest.MonkeyPatch, *keys: str) -> Runtime:
    monkeypatch.setenv("REFUNDRY_PERSONAL_KEYS", ",".join(keys))
    return build_runtime(load_settings())


def shown() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(invoke("personal", "show", "--json").stdout)
    return found


def test_keys_are_made_changed_and_let_go(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (invoke("personal", "key").stdout.strip() for _ in range(2))
    assert old != new
    accept(set_keys(monkeypatch, old), JOB)
    assert [row["use"] for row in shown()] == ["newest"]
    set_keys(monkeypatch, new)
    assert [row["use"] for row in shown()] == ["missing"]
    changed = set_keys(monkeypatch, new, old)
    assert [row["use"] for row in shown()] == ["former"]
    assert "1 with the newest key" in invoke("personal", "seal").stdout
    assert [row["use"] for row in shown()] == ["newest"]
    assert "newest" in invoke("personal", "show").stdout
    cancel_refund(changed, "ga", f"{APPID}R1")
    assert "purged the data of 0" in invoke("personal", "purge").stdout
    assert "purged the data of 1" in invoke("personal", "purge", "--days", "0").stdout
    assert [(row["key"], row["use"]) for row in shown()] == [(None, "purged")]


def test_what_an_older_version_kept_in_clear_is_counted_and_sealed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(intake, "taken_apart", lambda runtime, line, request: (request, None))
        accept(runtime, JOB)
    assert [row["use"] for row in shown()] == ["in clear: `refundry personal seal`"]
    with pytest.raises(SystemExit) as refused:
        invoke("personal", "seal")
    assert refused.value.code == 1
    set_keys(monkeypatch, invoke("personal", "key").stdout.strip())
    assert "sealed 1 that stood in clear" in invoke("personal", "seal").stdout
    assert [row["use"] for row in shown()] == ["newest"]
    assert invoke("audit").exit_code == 0


def test_the_doctor_says_what_a_set_up_without_a_key_refuses(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> str:
        lines = invoke_doctor().splitlines()
        return next(line for line in lines if "personal data" in line)

    assert "warning" in found()
    assert "refunds of ga that say who a person is are refused" in found()
    set_keys(monkeypatch, invoke("personal", "key").stdout.strip())
    assert "1 keys" in found()
    monkeypatch.setenv("REFUNDRY_PERSONAL_KEYS", "HUNTER2")
    assert "wrong" in found()
    assert "HUNTER2" not in found()


def invoke_doctor() -> str:
    return invoke("doctor").stdout
