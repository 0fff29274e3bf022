"""Every column of the soak's verdict can be something else than zero."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.soak.verdict import Asked, Evidence, Overlap, Sending, judge

#: What a clean run leaves: a success, a decline, and one that waits behind a case.
ASKED = Asked(account="qp", amounts=frozenset({100}))


def theirs(refund: str, state: str = "succeeded", **more: Any) -> dict[str, Any]:
    row = {"provider": "quickpay", "order": "O1", "refund": refund, "amount": 100, "state": state}
    return {**row, "executions": int(state == "succeeded"), **more}


def ours(refund: str, state: str = "succeeded", **more: Any) -> dict[str, Any]:
    row = {"account": "qp", "order_no": "O1", "refund_no": refund, "amount": 100, "state": state}
    return {**row, "attempts": 1, "case": None, **more}


def rows(*exported: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {row["refund_no"]: row for row in exported}


CLEAN = Evidence(
    asked={"R1": ASKED, "R2": ASKED, "R3": ASKED},
    book=[theirs("R1"), theirs("R2", "failed")],
    exported=rows(
        ours("R1"), ours("R2", "failed"), ours("R3", "queued"), ours("R4", "unknown", case="aged")
    ),
    paid={("quickpay", "O1"): 1000},
    executed={("quickpay", "R1"): [10.0]},
    declined={("quickpay", "R2"): 11.0},
    moments={("quickpay", "R1"): [(9.0, "submitting"), (12.0, "succeeded")]},
)


def overlap(refund: str, other: str, at: float) -> dict[str, Any]:
    one = Overlap(provider="quickpay", refund=refund, at=at, others=(other,))
    return {"overlaps": [one]}


def told(*events: str) -> dict[str, Any]:
    wants = {"R1": replace(ASKED, told=True), "R2": ASKED, "R3": ASKED}
    return {"asked": wants, "told": {"R1": list(events)}}


def exported(*changed: dict[str, Any]) -> dict[str, Any]:
    return {"exported": {**CLEAN.exported, **rows(*changed)}}


def asked(**changed: Asked) -> dict[str, Any]:
    return {"asked": {**CLEAN.asked, **changed}}


def sent(provider: str, *at: float, closed: bool = False) -> dict[str, Any]:
    return {"sendings": {(provider, "R1"): [Sending(at=one, closed=closed) for one in at]}}


MISMATCHED = {"mismatched": frozenset({("quickpay", "R1")})}
BREACHES: list[tuple[str, dict[str, Any]]] = [
    ("executed twice", {"executed": {("quickpay", "R1"): [10.0, 20.0]}}),
    ("executed twice", {"book": [theirs("R1", executions=2)]}),
    ("overlapping", overlap("R3", "R1", at=9.5)),
    ("overlapping", overlap("R3", "R1", at=11.0)),
    ("overlapping", overlap("R3", "R4", at=20.0)),
    ("overlapping", overlap("R2", "R4", at=20.0) | {"resubmitted": frozenset({"R2"})}),
    ("sent again too early", sent("quickpay", 10.0, 11.0)),
    ("sent again too early", sent("guanaitong", 10.0, 99.0)),
    ("over-refunded", {"book": [theirs("R1", amount=1001)]}),
    ("lost", asked(R9=ASKED)),
    ("lost", asked(R9=replace(ASKED, promised=True)) | {"refused": {"R9": {"internal"}}}),
    ("lost", asked(R9=ASKED) | {"refused": {"R9": frozenset({"over_refund"})}}),
    ("lost", {"book": [theirs("R9")]}),
    ("wrong final state", exported(ours("R2"))),
    ("wrong final state", exported(ours("R1", "failed", case="contradicted"))),
    ("wrong final state", exported(ours("R1", amount=99))),
    ("wrong final state", exported(ours("R3"))),
    ("wrong final state", {"book": [theirs("R1"), theirs("R2", "pending")]}),
    ("contradictions without a case", exported(ours("R2"))),
    ("contradictions without a case", MISMATCHED),
    ("canceled or failed, yet executed", exported(ours("R1", "failed", case="contradicted"))),
    ("canceled or failed, yet executed", exported(ours("R1", "canceled"))),
    ("unfinished without a case", exported(ours("R4", "unknown"))),
    ("unfinished without a case", exported(ours("R3", "unknown"))),
    ("past due by more than two sweeps", {"past_due": ["O1: was to be woken"]}),
    ("announcements missing", told("accepted")),
    ("announcements missing", told("final")),
    ("announcements missing", {"undelivered": ["R1: final not delivered"]}),
]


def test_a_clean_run_is_all_zeros() -> None:
    assert {column: found for column, found in judge(CLEAN).items() if found} == {}


@pytest.mark.parametrize("number", range(len(BREACHES)))
def test_a_breach_shows_in_its_column(number: int) -> None:
    column, breach = BREACHES[number]
    assert judge(replace(CLEAN, **breach))[column] != []


def test_every_column_has_a_breach_here() -> None:
    assert {column for column, _ in BREACHES} == set(judge(CLEAN))


FAIR: dict[str, dict[str, Any]] = {
    "the other had ended, as the service knew, while its call still hung": overlap(
        "R3", "R1", 13.0
    ),
    "a copy of what was executed": overlap("R1", "R4", at=20.0),
    "a copy of what was declined": overlap("R2", "R4", at=20.0),
    "a contradiction in a case": MISMATCHED | exported(ours("R1", case="mismatched")),
    "a refusal that was to come": asked(R9=replace(ASKED, refusable=frozenset({"over_refund"})))
    | {"refused": {"R9": frozenset({"over_refund"})}},
    "sent again after the grace": sent("quickpay", 10.0, 16.1),
    "sent again after it was refused": sent("guanaitong", 10.0, 11.0, closed=True),
    "all was told": told("accepted", "accepted", "final"),
}


@pytest.mark.parametrize("what", FAIR)
def test_what_is_fair_shows_in_no_column(what: str) -> None:
    found = judge(replace(CLEAN, **FAIR[what]))
    assert {column: rows for column, rows in found.items() if rows} == {}
