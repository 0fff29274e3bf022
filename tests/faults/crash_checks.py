"""What must hold when all is over: the ledger, the provider's book and the producer agree."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from tests.faults.crash_scenarios import Scenario
from tests.faults.crash_story import Bench, Story

#: Of 100 fen.
PAID: Final = 100
#: What has to be asked before something that may have been sent goes again.
NOT_FOUND_NEEDED: Final = 3


def breaches(bench: Bench, story: Story, scenario: Scenario, told: Any) -> list[str]:
    """What does not hold, a sentence each."""
    report, book = told["report"], story.book()
    found = [f"audit: {one}" for one in report["audit"]]
    if not report["settled"]:
        found.append(f"it did not come to an end: {report}")
    if story.locked():
        found.append("a lock is left")
    found += _money(book)
    for refund in report["refunds"]:
        found += _refund(bench, story, scenario, refund, book.get(refund["refund_no"]), report)
    known = {refund["refund_no"] for refund in report["refunds"]}
    found += [f"{number} was accepted and is lost" for number in sorted(story.asked - known)]
    found += _announcements(story, report)
    return found


def _money(book: dict[str, Any]) -> Iterator[str]:
    executed = sum(row["amount"] for row in book.values() if row["state"] == "succeeded")
    if executed > PAID:
        yield f"{executed} fen were refunded of {PAID}"
    for number, row in book.items():
        if row["executions"] != (row["state"] == "succeeded"):
            yield f"{number} was executed {row['executions']} times"


def _refund(
    bench: Bench, story: Story, scenario: Scenario, refund: Any, theirs: Any, report: Any
) -> Iterator[str]:
    number, state = refund["refund_no"], refund["state"]
    seen = bench.log.steps_of(number)
    if any(event["overlap"] for event in bench.log.of(number, "submit_in")):
        yield f"{number} was sent while another of its order was under way"
    if seen.count("submit_in") > refund["attempt"]:
        yield f"{number} was sent {seen.count('submit_in')} times in {refund['attempt']} attempts"
    if not scenario.resends and (asked := _fewest_questions(seen)) < NOT_FOUND_NEEDED:
        yield f"{number} was sent again after {asked} questions"
    if story.provider == "guanaitong" and seen.count("submit_in") > 1:
        yield f"{number} was sent twice to a provider that does not deduplicate"
    if theirs and theirs["amount"] != refund["amount"]:
        yield f"{number} is {refund['amount']} here and {theirs['amount']} there"
    if not _agree(story, state, theirs, report):
        yield f"{number} is {state} here and {theirs} there, cases {report['cases']}"


def _fewest_questions(seen: list[str]) -> int:
    """The fewest questions between two submissions; many where there is only one."""
    runs = "".join({"submit_in": "s", "query": "q"}.get(event, "") for event in seen)
    return min((len(run) for run in runs.split("s")[1:-1]), default=99)


def _agree(story: Story, state: str, theirs: Any, report: Any) -> bool:
    """Final as the book says; what never came there is a person's where it cannot go again."""
    if theirs is not None:
        return bool(state == theirs["state"])
    if state in ("canceled",):
        return True
    behind_a_case = state in ("unknown", "queued") and bool(report["cases"])
    allowed = {"not_resendable", "aged"} if story.unsure else set()
    return behind_a_case and set(report["cases"]) <= allowed


def _announcements(story: Story, report: Any) -> Iterator[str]:
    """At least once, and in order: acceptance, then every finality."""
    for refund in report["refunds"]:
        number = refund["refund_no"]
        told = [
            (one["event"], one["state"])
            for one in story.tellings(report)
            if one["refund_no"] == number
        ]
        once = [what for what, _ in groupby(told)]
        noted = [
            (event, payload["state"])
            for event, payload in report["announced"]
            if payload["refund_no"] == number
        ]
        if once != [what for what, _ in groupby(noted)] or noted[:1] != [("accepted", "queued")]:
            yield f"{number} was announced as {told}, and {noted} was to be told"
        is_final = refund["state"] in ("succeeded", "failed", "canceled")
        if is_final != (len(noted) > 1) or (is_final and noted[-1][1] != refund["state"]):
            yield f"{number} is {refund['state']}, and {noted} was to be told"
