"""Settlements: one person proposes, another one approves, and nothing in between changes money."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from refundry import State
from tests.integration.builders import MINUTE, Shop, findings, race
from tests.integration.conftest import MakeShop
from tests.integration.test_audit import unguarded
from tests.integration.test_not_idempotent import IMPATIENT, let_time_pass
from tests.integration.test_notify_races import at_once
from tests.integration.test_races import granted
from tests.providers.harness import OWN_OPTIONS
from tests.simulator.harness import APPID, Sim
from worker.errors import Refused
from worker.ledger.engine import Ledger
from worker.ledger.journal import open_case
from worker.ledger.refunds import order_and_refund
from worker.refund import Case, Outcome, Verdict
from worker.steps.cases import send
from worker.steps.command import cancel_refund
from worker.steps.people import person
from worker.steps.poll import Claimed, apply, poll
from worker.steps.settlements import approve, propose, withdraw
from worker.steps.submit import submit

LI = person("li", "the statement of the 31st")
WANG = person("wang", "compared it as well")


def sent(shop: Shop, *verdicts: Verdict, **job: Any) -> int:
    """A refund that was answered so, long ago; its id."""
    accepted = shop.accept(announce={"task": "told"}, **job)
    for verdict in verdicts:
        intent = shop.claim(accepted.order_id)
        assert intent is not None
        shop.settle(intent, verdict)
        shop.wait(20 * MINUTE)
    return accepted.refund_id


def case_of(shop: Shop, refund_id: int, kind: Case = Case.AGED) -> int:
    """An open case of the refund."""
    with shop.runtime.ledger.write() as connection:
        open_case(connection, refund_id, kind, {}, shop.clock.now)
    sql = "SELECT id FROM cases WHERE refund_id = :id AND kind = :kind AND closed_at IS NULL"
    return int(shop.value(sql, id=refund_id, kind=kind.value))


def hear(shop: Shop, refund_id: int, verdict: Verdict) -> None:
    """What the provider answers to a question that was sent now."""
    claimed_now(shop, refund_id, verdict)()


def claimed_now(shop: Shop, refund_id: int, verdict: Verdict) -> Any:
    with shop.runtime.ledger.read() as connection:
        order, refund = order_and_refund(connection, refund_id)
    line = shop.runtime.lines[refund.account]
    claimed = Claimed(order=order, refund=refund, line=line, after_grace=True)
    return partial(apply, shop.runtime, claimed, Outcome(verdict=verdict))


def by_two(shop: Shop, case_id: int, state: State) -> None:
    propose(shop.runtime, case_id, state, LI)
    approve(shop.runtime, case_id, WANG)


def sums(shop: Shop, order_no: str = "O1") -> tuple[int, ...]:
    columns = "reserved, refunded, excess"
    return tuple(shop.rows(f"SELECT {columns} FROM orders WHERE order_no = :no", no=order_no)[0])


def told(shop: Shop, refund_id: int) -> list[str]:
    rows = shop.rows(
        "SELECT event FROM announcements WHERE refund_id = :id ORDER BY id", id=refund_id
    )
    return [row.event for row in rows]


def breaches(shop: Shop) -> list[Any]:
    return [one for one in shop.audit() if not one.warning]


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.PENDING])
@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_two_persons_bring_an_open_refund_to_its_end(
    verdict: Verdict, state: State, shop: Shop
) -> None:
    refund_id = sent(shop, verdict)
    before = shop.state()
    case_id = case_of(shop, refund_id)
    propose(shop.runtime, case_id, state, LI, "line 7")
    assert (shop.state(), sums(shop), told(shop, refund_id)) == (before, (10, 0, 0), ["accepted"])
    approve(shop.runtime, case_id, WANG)
    assert shop.state() is state
    assert sums(shop) == ((0, 10, 0) if state is State.SUCCEEDED else (0, 0, 0))
    assert told(shop, refund_id) == ["accepted", "final"]
    assert shop.rows("SELECT 1 FROM cases WHERE closed_at IS NULL") == []
    done = [tuple(row) for row in shop.rows("SELECT who, what FROM case_entries ORDER BY id")]
    assert done[1:] == [("li", "proposed"), ("wang", "approved"), ("wang", "closed")]
    detail = shop.rows("SELECT kind, detail FROM events ORDER BY seq DESC")[0]
    assert detail.kind == "settled"
    assert all(word in str(detail.detail) for word in ("li", "wang", "line 7"))
    assert shop.value("SELECT reason FROM refunds") == "settled by hand"
    assert breaches(shop) == []


@pytest.mark.parametrize("name", ["li", "LI", " li ", "Ｌｉ"])
def test_who_has_proposed_a_settlement_does_not_approve_it(name: str, shop: Shop) -> None:
    refund_id = sent(shop, Verdict.UNKNOWN)
    case_id = case_of(shop, refund_id)
    propose(shop.runtime, case_id, State.FAILED, LI)
    with pytest.raises(Refused, match="another approves it"):
        approve(shop.runtime, case_id, person(name, "why not"))
    assert (shop.state(), sums(shop)) == (State.UNKNOWN, (10, 0, 0))
    assert shop.rows("SELECT 1 FROM approvals") == []


@pytest.mark.parametrize(
    ("name", "why"), [("", "x"), ("refundry", "x"), ("l\x00i", "x"), ("li", " ")]
)
def test_nothing_is_done_by_nobody_or_for_no_reason(name: str, why: str) -> None:
    with pytest.raises(Refused):
        person(name, why)


def test_what_has_changed_since_it_was_proposed_is_not_overruled(shop: Shop) -> None:
    refund_id = sent(shop, Verdict.UNKNOWN)
    case_id = case_of(shop, refund_id)
    propose(shop.runtime, case_id, State.FAILED, LI)
    hear(shop, refund_id, Verdict.SUCCEEDED)
    with pytest.raises(Refused, match=r"succeeded and has changed since .*succeeded at"):
        approve(shop.runtime, case_id, WANG)
    assert (shop.state(), sums(shop)) == (State.SUCCEEDED, (0, 10, 0))
    withdraw(shop.runtime, case_id, WANG)
    assert breaches(shop) == []


def test_one_proposal_of_a_refund_is_open_at_a_time_until_it_is_withdrawn(shop: Shop) -> None:
    refund_id = sent(shop, Verdict.UNKNOWN)
    case_id, other = case_of(shop, refund_id), case_of(shop, refund_id, Case.MISMATCHED)
    first = propose(shop.runtime, case_id, State.FAILED, LI).proposal
    with pytest.raises(Refused, match="li has proposed failed"):
        propose(shop.runtime, other, State.SUCCEEDED, WANG)
    withdraw(shop.runtime, case_id, LI)
    with pytest.raises(Refused, match="nothing is proposed"):
        approve(shop.runtime, case_id, WANG)
    second = propose(shop.runtime, other, State.SUCCEEDED, WANG).proposal
    with pytest.raises(Refused, match=f"proposal {first} is not open"):
        approve(shop.runtime, case_id, LI, first)
    approve(shop.runtime, case_id, LI, second)
    assert shop.state() is State.SUCCEEDED
    assert shop.rows("SELECT 1 FROM cases WHERE closed_at IS NULL") == []


def test_nothing_is_settled_as_failed_while_an_attempt_may_still_be_executed(shop: Shop) -> None:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    case_id = case_of(shop, intent.refund.id)
    with pytest.raises(Refused, match="an attempt is under way"):
        propose(shop.runtime, case_id, State.FAILED, LI)
    shop.settle(intent, Verdict.UNKNOWN)
    with pytest.raises(Refused, match="may be under way, or be executed, until"):
        propose(shop.runtime, case_id, State.FAILED, LI)
    by_two(shop, case_id, State.SUCCEEDED)
    assert shop.state() is State.SUCCEEDED


@pytest.mark.parametrize(
    ("verdicts", "state", "why"),
    [
        ([], State.FAILED, "nothing of it was sent: cancel it"),
        ([Verdict.UNKNOWN], State.REVERSED, "what is unknown cannot become reversed"),
        ([Verdict.UNKNOWN], State.PENDING, "what is unknown cannot become pending"),
        ([Verdict.SUCCEEDED], State.FAILED, "what is succeeded cannot become failed"),
        ([Verdict.REJECTED], State.REVERSED, "what is failed cannot become reversed"),
    ],
)
def test_a_refund_is_settled_as_the_table_of_states_says_alone(
    verdicts: list[Verdict], state: State, why: str, shop: Shop
) -> None:
    case_id = case_of(shop, sent(shop, *verdicts))
    with pytest.raises(Refused, match=why):
        propose(shop.runtime, case_id, state, LI)


def test_a_case_that_is_not_about_the_end_of_its_refund_settles_nothing(shop: Shop) -> None:
    case_id = case_of(shop, sent(shop, Verdict.UNKNOWN), Case.UNANNOUNCED)
    with pytest.raises(Refused, match="not about how its refund ended"):
        propose(shop.runtime, case_id, State.FAILED, LI)


def contradicted(shop: Shop, **job: Any) -> int:
    """A failed refund that its provider says it is executing; the id of its case."""
    refund_id = sent(shop, Verdict.REJECTED, **job)
    hear(shop, refund_id, Verdict.SUCCEEDED)
    return case_of(shop, refund_id, Case.CONTRADICTED)


def test_a_contradicted_failure_that_was_executed_is_refunded_and_its_order_goes_on(
    shop: Shop,
) -> None:
    case_id = contradicted(shop)
    order_id = shop.accept(refund_no="R2").order_id
    assert (sums(shop), shop.claim(order_id)) == ((20, 0, 0), None)
    by_two(shop, case_id, State.SUCCEEDED)
    assert (shop.state(), sums(shop)) == (State.SUCCEEDED, (10, 10, 0))
    assert told(shop, 1) == ["accepted", "final", "final"]
    assert shop.claim(order_id) is not None
    assert breaches(shop) == []


def test_a_contradiction_that_is_dismissed_frees_what_it_had_reserved(shop: Shop) -> None:
    case_id = contradicted(shop)
    by_two(shop, case_id, State.FAILED)
    assert (shop.state(), sums(shop), told(shop, 1)) == (
        State.FAILED,
        (0, 0, 0),
        ["accepted", "final"],
    )
    assert shop.value("SELECT frozen_at FROM orders") is None
    assert breaches(shop) == []
    hear(shop, 1, Verdict.SUCCEEDED)
    assert sums(shop) == (10, 0, 0)


def test_a_canceled_refund_that_is_said_to_be_executed_stays_reserved_until_that_is_dismissed(
    shop: Shop,
) -> None:
    refund_id = sent(shop)
    cancel_refund(shop.runtime, "shop", "R1")
    hear(shop, refund_id, Verdict.SUCCEEDED)
    case_id = case_of(shop, refund_id, Case.CONTRADICTED)
    with pytest.raises(Refused, match="canceled cannot become succeeded"):
        propose(shop.runtime, case_id, State.SUCCEEDED, LI)
    assert sums(shop) == (10, 0, 0)
    by_two(shop, case_id, State.CANCELED)
    assert (sums(shop), shop.state(), breaches(shop)) == ((0, 0, 0), State.CANCELED, [])


@pytest.mark.parametrize("evidence", ["line\x007", "x" * 3000])
def test_evidence_is_kept_as_a_text_that_can_be_written_down(evidence: str, shop: Shop) -> None:
    case_id = case_of(shop, sent(shop, Verdict.UNKNOWN))
    if len(evidence) > 2000:
        with pytest.raises(Refused, match="at most"):
            propose(shop.runtime, case_id, State.FAILED, LI, evidence)
    else:
        propose(shop.runtime, case_id, State.FAILED, LI, evidence)
        assert shop.value("SELECT evidence FROM proposals") == "line?7"


def test_an_order_stays_frozen_while_another_refund_of_it_is_contradicted(shop: Shop) -> None:
    first = sent(shop, Verdict.REJECTED)
    second = sent(shop, Verdict.REJECTED, refund_no="R2")
    for refund_id in (first, second):
        hear(shop, refund_id, Verdict.SUCCEEDED)
    by_two(shop, case_of(shop, first, Case.CONTRADICTED), State.FAILED)
    assert shop.value("SELECT frozen_at FROM orders") is not None
    by_two(shop, case_of(shop, second, Case.CONTRADICTED), State.SUCCEEDED)
    assert shop.value("SELECT frozen_at FROM orders") is None
    assert (sums(shop), breaches(shop)) == ((0, 10, 0), [])


def test_what_was_executed_beyond_what_was_left_is_told_apart_until_it_is_reversed(
    shop: Shop,
) -> None:
    """R1 failed, R2 had what was left; and then it turns out that both were executed."""
    first = sent(shop, Verdict.REJECTED, amount=60)
    sent(shop, Verdict.SUCCEEDED, refund_no="R2", amount=70)
    hear(shop, first, Verdict.SUCCEEDED)
    assert sums(shop) == (30, 70, 30)
    by_two(shop, case_of(shop, first, Case.CONTRADICTED), State.SUCCEEDED)
    assert (shop.state(), sums(shop), breaches(shop)) == (State.SUCCEEDED, (0, 100, 30), [])
    hear(shop, first, Verdict.REJECTED)
    by_two(shop, case_of(shop, first, Case.CONTRADICTED), State.REVERSED)
    assert (shop.state(), sums(shop), breaches(shop)) == (State.REVERSED, (0, 70, 0), [])


def test_a_reversal_after_success_is_noticed_settled_by_two_and_announced(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    own = {"provider": "hkrt", "base_url": f"{sim.url}/hk"} | OWN_OPTIONS["hkrt"]
    shop = make_shop(ledger, shop=own)
    sim.plan("hkrt", number, fate="reversal:2")
    accepted = shop.accept(refund_no=number, order_no=f"O{number}", announce={"task": "told"})
    submit(shop.runtime, accepted.order_id)
    assert shop.state(number) is State.SUCCEEDED
    for day in range(2):
        assert shop.rows("SELECT 1 FROM cases") == [], day
        shop.wait(1441 * MINUTE)
        poll(shop.runtime)
    case_id = int(shop.value("SELECT id FROM cases WHERE kind = 'contradicted'"))
    assert shop.value("SELECT frozen_at FROM orders") is not None
    by_two(shop, case_id, State.REVERSED)
    assert (shop.state(number), sums(shop, f"O{number}")) == (State.REVERSED, (0, 0, 0))
    assert told(shop, accepted.refund_id) == ["accepted", "final", "reversed"]
    assert breaches(shop) == []
    another = shop.accept(refund_no=f"{number}b", order_no=f"O{number}", amount=100)
    submit(shop.runtime, another.order_id)
    assert shop.state(f"{number}b") is State.SUCCEEDED


def test_what_cannot_be_sent_again_is_settled_and_the_next_refund_of_the_order_goes(
    ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str
) -> None:
    own = {"provider": "guanaitong", "base_url": f"{sim.url}/gat"}
    shop = make_shop(ledger, shop=own | OWN_OPTIONS["guanaitong"] | IMPATIENT)
    first, second = f"{APPID}R{number}", f"{APPID}S{number}"
    sim.plan("guanaitong", first, submit=["timeout_before"])
    job = {"order_no": f"{APPID}O{number}", "reason": "七天无理由"}
    accepted = shop.accept(refund_no=first, **job)
    shop.accept(refund_no=second, amount=90, **job)
    submit(shop.runtime, accepted.order_id)
    let_time_pass(shop, accepted.order_id)
    assert (shop.state(first), shop.state(second)) == (State.UNKNOWN, State.QUEUED)
    case_id = case_of(shop, accepted.refund_id, Case.NOT_RESENDABLE)
    with pytest.raises(Refused, match="its provider would execute a repetition: settle it"):
        send(shop.runtime, case_id, LI)
    by_two(shop, case_id, State.FAILED)
    assert shop.state(first) is State.FAILED
    submit(shop.runtime, accepted.order_id)
    assert shop.state(second) is State.SUCCEEDED
    executed = [one["refund"] for one in sim.log(event="EXECUTED", order=job["order_no"])]
    assert (executed, breaches(shop)) == ([second], [])


def test_of_many_who_approve_one_settles(shop: Shop) -> None:
    shops = shop.processes()
    case_id = case_of(shop, sent(shop, Verdict.UNKNOWN))
    propose(shop.runtime, case_id, State.SUCCEEDED, LI)

    def approves(number: int) -> bool:
        runtime = shops[number % 2].runtime
        return granted(partial(approve, runtime, case_id, person(f"wang{number}", "so it is")))

    assert sum(race(approves)) == 1
    assert shop.value("SELECT count(*) FROM approvals") == 1
    assert (sums(shop), breaches(shop)) == ((0, 10, 0), [])


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
@pytest.mark.parametrize("verdict", [Verdict.SUCCEEDED, Verdict.REJECTED, Verdict.PENDING])
def test_an_approval_that_races_with_the_providers_answer_overrules_nothing(
    state: State, verdict: Verdict, shop: Shop
) -> None:
    """Who is first counts; the other is refused, or opens a case against what was settled."""
    for number in range(6):
        refund_id = sent(shop, Verdict.UNKNOWN, order_no=f"O{number}", refund_no=f"R{number}")
        case_id = case_of(shop, refund_id)
        propose(shop.runtime, case_id, state, LI)
        answer = claimed_now(shop, refund_id, verdict)
        _, approved = at_once(
            answer, partial(granted, partial(approve, shop.runtime, case_id, WANG))
        )
        ended = shop.state(f"R{number}")
        theirs = {Verdict.SUCCEEDED: State.SUCCEEDED, Verdict.REJECTED: State.FAILED}
        assert ended is (state if approved else theirs.get(verdict, State.PENDING))
        kinds = shop.rows("SELECT kind FROM events WHERE refund_id = :id", id=refund_id)
        assert [row.kind for row in kinds].count("settled") == approved
        if approved and verdict is Verdict.SUCCEEDED and state is State.FAILED:
            assert case_of(shop, refund_id, Case.CONTRADICTED)
    assert breaches(shop) == []


def test_the_audit_names_a_refund_that_was_settled_without_a_second_person(shop: Shop) -> None:
    by_two(shop, case_of(shop, sent(shop, Verdict.UNKNOWN)), State.SUCCEEDED)
    assert breaches(shop) == []
    for tampered in (
        "DELETE FROM approvals",
        "UPDATE approvals SET approved_by = 'Li'",
        "UPDATE proposals SET event_seq = 1",
        "UPDATE proposals SET state = 'failed'",
    ):
        with unguarded(shop) as connection:
            if connection.dialect.name == "sqlite":
                connection.execute(text("DROP TRIGGER proposals_as_proposed"))
            connection.execute(text(tampered))
            found = findings(connection, shop.clock.now)
        said = [one.said for one in found if one.promise == "I6"]
        assert said == ["event 4 settles it by hand without a second person's approval"], tampered


def test_a_settlement_wakes_the_order_that_it_frees(shop: Shop) -> None:
    refund_id = sent(shop, Verdict.UNKNOWN)
    order_id = shop.accept(refund_no="R2").order_id
    shop.execute("UPDATE orders SET wake_at = NULL")
    by_two(shop, case_of(shop, refund_id), State.FAILED)
    assert shop.value("SELECT wake_at FROM orders WHERE id = :id", id=order_id) is not None
