"""The page of the states shows what the code does: transitions, cases, events."""

import re
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path

from refundry import State
from tests.unit.builders import NOW, RULES
from worker.decisions import (
    begin,
    cancel,
    decide_answer,
    decide_mismatch,
    decide_notification,
    decide_question,
    let_go,
    reap,
    resubmit,
    send_again,
    settle,
)
from worker.refund import (
    SEALED,
    TRANSITIONS,
    Attempt,
    Case,
    Notice,
    Outcome,
    Question,
    Standing,
    Verdict,
)

STATES = Path(__file__).parents[2] / "docs" / "states.md"
ARROW = re.compile(r"^\s+(\S+) --> (\w+)", re.MULTILINE)


def test_the_drawing_has_exactly_the_arrows_of_the_table() -> None:
    drawn = set(ARROW.findall(STATES.read_text()))
    table = {
        ("[*]" if before is None else before.value, after.value)
        for before, afters in TRANSITIONS.items()
        for after in afters
    }
    assert drawn == table


def test_every_kind_of_case_is_explained() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", STATES.read_text(), re.MULTILINE))
    assert explained == {case.value for case in Case}


def test_every_event_that_a_decision_can_leave_is_explained() -> None:
    listed = STATES.read_text(encoding="utf-8").partition("\n## Events\n")[2].partition("\n- ")[2]
    assert set(re.findall(r"`(\w+)`", listed)) == {"accepted", SEALED, *left_by_decisions()}


def left_by_decisions() -> set[str]:
    """The kind of every event that :func:`worker.steps.record.record` would write down."""
    rules = [
        replace(RULES, asks=asks, funds_same_number=same, deduplicates=dedup, not_found_needed=most)
        for asks, same, dedup in product([True, False], repeat=3)
        for most in (1, 3)
    ]
    kinds: set[str] = set()
    for standing, verdict, one in product(standings(), Verdict, rules):
        answered = (
            decide_answer(standing, number, Attempt.STARTED, Outcome(verdict=verdict), one)
            for number in {1, standing.attempt}
        )
        kinds |= {change.event for change in answered if change}
        asked = Question(
            attempt=standing.attempt, state=standing.state, after_grace=True, known=standing.known
        )
        restored = replace(asked, restored=True)
        told = Notice(verdict=verdict, stale=False, after_grace=True)
        learnt = (
            decide_question(standing, asked, Outcome(verdict=verdict), one, NOW),
            decide_question(standing, restored, Outcome(verdict=verdict), one, NOW),
            decide_notification(standing, told, one),
            decide_mismatch(standing, one),
            cancel(standing),
        )
        kinds |= {c.event for c in learnt if c and (c.standing != standing or c.case or c.clears)}
        words = [settle(standing, to, lost=False) for to in State]
        words.append(send_again(standing, one, not_resendable=True, lost=False))
        kinds |= {word.event for word in words if not isinstance(word, str)}
        kinds.add(let_go(standing).event)
    first = begin(Standing(state=State.QUEUED))
    return kinds | {first.event, reap(first.standing).event, resubmit(standing).event}


def standings() -> list[Standing]:
    return [
        Standing(
            state=state,
            attempt=attempt,
            sent=attempt,
            open_sent=open_sent,
            known=known,
            not_found_since=NOW - timedelta(days=1),
        )
        for state, attempt, open_sent, known in product(State, (1, 2), (0, 1, 2), (False, True))
        if open_sent <= attempt
    ]
