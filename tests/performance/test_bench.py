"""The bench notices what it is there for, and its table says what was measured."""

import threading
import time
from typing import Any

import pytest
import requests

from bench.counter import kind_of
from bench.goals.backlog import growth, tenths
from bench.measure import Run, jobs
from bench.page import written
from bench.site import Site
from bench.table import Goal, Section


def submit(site: Site, order_no: str, refund_no: str) -> None:
    fields = {"order_no": order_no, "refund_no": refund_no, "refund_amount": 100}
    requests.post(
        f"{site.provider_url}/QuickPay/Refund", json=fields, timeout=10
    ).raise_for_status()


def a_run(**changed: Any) -> Run:
    usual: dict[str, Any] = {"contender": "somebody", "refunds": 10, "seconds": 2.0, "cpu_s": 0.1}
    usual |= {"memory_mib": 80.0, "calls": 20, "overlaps": 0, "duplicates": 0}
    return Run(**usual | changed)


def test_the_provider_notices_two_refunds_of_an_order_at_once_and_one_sent_twice(
    site: Site,
) -> None:
    site.begin(latency_s=0.3)
    first = threading.Thread(target=submit, args=(site, "O1", "R1"))
    first.start()
    while not site.sums()["submitted"]:
        time.sleep(0.01)
    submit(site, "O1", "R2")
    first.join()
    assert (site.sums()["overlaps"], site.sums()["duplicates"]) == (1, 0)
    submit(site, "O1", "R2")
    assert (site.sums()["overlaps"], site.sums()["duplicates"]) == (1, 1)


@pytest.mark.parametrize("wrong", ["overlaps", "duplicates"])
def test_a_run_with_a_wrong_refund_spoils_the_bench(wrong: str) -> None:
    section = Section()
    section.keep(a_run())
    assert section.clean()
    section.keep(a_run(**{wrong: 1}))
    assert not section.clean()


def test_a_row_says_by_how_much_its_goal_was_missed() -> None:
    section = Section()
    section.row("fast", Goal.least(2), [1.4, 1.5, 9.0])
    section.row("cheap", Goal.most(2.5), [2.5])
    fast, cheap = section.rows
    assert (fast.figure, fast.spread, fast.verdict) == ("1.50×", "1.40–9.00", "missed by 25 %")
    assert (str(cheap.goal), cheap.verdict) == ("≤ 2.5×", "reached")


def test_no_two_lots_of_jobs_share_an_order_or_a_number() -> None:
    lots = [*jobs(8), *jobs(8, 1)]
    assert len({job["refund_no"] for job in lots}) == 16
    assert len({job["order_no"] for job in lots}) == 2 + 8
    assert [job["order_no"] for job in lots[:3]] == [lots[i]["order_no"] for i in (2, 3, 4)]


def test_a_backlog_that_slows_down_shows_in_its_tenths() -> None:
    slowing = [number + max(0, number - 90) for number in range(101)]
    assert tenths([float(at) for at in slowing]) == [1.0] * 9 + [0.5]
    assert growth([80.0, 100.0, 90.0, 110.0]) == 1.1


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT orders.id \nFROM orders WHERE id = 1 FOR UPDATE", "sql lock orders"),
        ("SELECT refunds.id \nFROM refunds", "sql read refunds"),
        ("SELECT clock_timestamp() AS now", "sql read the time"),
        ("UPDATE orders SET wake_at = NULL", "sql update orders"),
        ("INSERT INTO events (seq) VALUES (1)", "sql insert events"),
        ("WITH gone AS (UPDATE refunds SET asked = 1) SELECT 1", "sql with refunds"),
    ],
)
def test_a_statement_is_counted_by_what_it_does(statement: str, kind: str) -> None:
    assert kind_of(statement) == kind


def test_the_page_shows_every_row_and_plot_of_the_results() -> None:
    section = Section(curves={"refunds/s by worker processes": [(1, 2.0)]})
    section.keep(a_run())
    section.row("fast", Goal.least(2), [1.5])
    page = written({"throughput": {"machine": "a machine", "at": "now"} | section.as_json()})
    assert "| fast | ≥ 2× | 1.50× | 1.50–1.50 | missed by 25 % |" in page
    assert "| somebody | 5.0 | 10.0 | 80.0 |" in page
    assert "(refunds-s-by-worker-processes.svg)" in page
