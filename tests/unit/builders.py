"""Small builders that the unit tests share."""

from datetime import UTC, datetime, timedelta
from typing import Any

from config.accounts import Account
from refundry import State
from worker.decisions import begin, decide_answer, decide_question
from worker.refund import (
    FINAL,
    PENDING,
    SUBMITTING,
    TRANSITIONS,
    UNKNOWN,
    Attempt,
    Change,
    Outcome,
    Question,
    Rules,
    Standing,
    Verdict,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
RULES = Rules(
    deduplicates=True,
    attempts_max=3,
    not_found_needed=3,
    not_found_over=timedelta(minutes=10),
    funds_same_number=False,
    releases_on_acceptance=False,
    asks=True,
)


def job(**changed: Any) -> dict[str, Any]:
    """A valid job's keyword arguments."""
    return {
        "account": "shop",
        "order_no": "O1",
        "refund_no": "R1",
        "amount": 50,
        "order_amount": 100,
    } | changed


def account(**changed: Any) -> Account:
    """A quickpay account on loopback."""
    settings: dict[str, Any] = {
        "name": "shop",
        "provider": "quickpay",
        "base_url": "http://127.0.0.1:9/qp",
        "store_no": "S1",
        "operator": "ops",
    }
    return Account.model_validate(settings | changed)


def first_sent() -> Standing:
    """A refund whose first attempt is under way."""
    return begin(Standing(state=State.QUEUED)).standing


def answered(
    standing: Standing,
    verdict: Verdict,
    *,
    attempt: int | None = None,
    was: Attempt = Attempt.STARTED,
    rules: Rules = RULES,
    refused_before: bool = False,
) -> Change | None:
    """What an answer to the attempt (the latest, if none is named) changes."""
    number = standing.attempt if attempt is None else attempt
    outcome = Outcome(verdict=verdict, code=verdict)
    return decide_answer(standing, number, was, outcome, rules, refused_before=refused_before)


def asked(
    standing: Standing,
    verdict: Verdict,
    *,
    attempt: int | None = None,
    state: State | None = None,
    after_grace: bool = True,
    known: bool | None = None,
    rules: Rules = RULES,
    now: datetime = NOW,
) -> Change | None:
    """What the answer to a question changes; it was sent in this standing, unless one is named."""
    question = Question(
        attempt=standing.attempt if attempt is None else attempt,
        state=standing.state if state is None else state,
        after_grace=after_grace,
        known=standing.known if known is None else known,
    )
    return decide_question(standing, question, Outcome(verdict=verdict), rules, now)


def after(change: Change | None) -> Standing:
    """The standing that a decision led to; there must be one."""
    assert change is not None
    return change.standing


def broken_promises(before: Standing, change: Change) -> list[str]:
    """What the ledger's constraints would refuse of a decision, and what evidence must not do."""
    now = change.standing
    wants_open = now.state in (SUBMITTING, UNKNOWN, PENDING)
    wants_closed = now.state in (State.FAILED, State.CANCELED)
    holds = {
        State.QUEUED: now.open_sent > 0,
        SUBMITTING: True,
        UNKNOWN: True,
        PENDING: not now.releases,
    }
    checks = {
        "illegal transition": now.state is before.state or now.state in TRANSITIONS[before.state],
        "holds_as_the_state_says": now.holds is holds.get(now.state, False),
        "open attempts in this state": now.open_sent > 0 if wants_open else True,
        "closed attempts in this state": now.open_sent == 0 if wants_closed else True,
        "attempts_counted": 0 <= now.open_sent <= now.sent <= now.attempt,
        "a final state stays": before.state not in FINAL
        or now.state is before.state
        or change.event == "resubmitted",
        "event": change.event != "",
    }
    return [name for name, kept in checks.items() if not kept]
