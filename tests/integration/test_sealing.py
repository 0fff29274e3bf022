"""Personal data is nowhere in clear, is read by who sends it alone, and is gone in time."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from sqlalchemy import select

from refundry import State
from tests.integration.builders import MINUTE, Shop, race
from tests.integration.conftest import MakeShop
from tests.providers.harness import OWN_OPTIONS
from tests.simulator.harness import APPID, Sim
from worker.errors import CannotOpen, Conflict, Refused
from worker.ledger.engine import Ledger
from worker.ledger.tables import metadata
from worker.providers.base import RefundFacts
from worker.providers.http import Answer, Call, always
from worker.refund import Outcome, Verdict
from worker.seal_keys import new_key
from worker.seals import Seals
from worker.steps import intake, keeping
from worker.steps.command import cancel_refund, resubmit_refund
from worker.steps.intake import accept
from worker.steps.poll import poll
from worker.steps.submit import submit
from worker.steps.sweep import sweep

DAY = timedelta(days=1)
KEY, OTHER = new_key(), new_key()
PERSON = {
    "recipientName": "PLANTED-张三",
    "recipientPhone": "13800009999",
    "recipientAddress": "PLANTED-某路 1 号",
}


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[io.StringIO]:
    """What is logged, with every field that is bound to it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger().addHandler(handler)
    structlog.configure(
        processors=[structlog.processors.JSONRenderer(ensure_ascii=False)],
        logger_factory=structlog.PrintLoggerFactory(written),
        cache_logger_on_first_use=False,
    )
    yield written
    structlog.reset_defaults()
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def shop(ledger: Ledger, make_shop: MakeShop, sim: Sim, number: str) -> Shop:
    own = {"provider": "guanaitong", "base_url": f"{sim.url}/gat"} | OWN_OPTIONS["guanaitong"]
    shop = make_shop(ledger, shop=own)
    named = {"order_no": f"{APPID}O{number}", "refund_no": f"{APPID}R{number}"}
    shop.usual |= {**named, "reason": "退", "extra": {"shopName": "店", **PERSON}}
    return with_keys(shop, KEY)


def with_keys(shop: Shop, *keys: str) -> Shop:
    """The same installation, started again with these keys."""
    return replace(shop, runtime=replace(shop.runtime, seals=Seals(keys)))


def number_of(shop: Shop) -> str:
    return str(shop.usual["refund_no"])


def everything(shop: Shop) -> str:
    """All rows of all tables, and the file that they are in where there is one."""
    with shop.runtime.ledger.read() as connection:
        tables = [str(connection.execute(select(t)).all()) for t in metadata.sorted_tables]
    return "".join(tables) + bytes_of(shop).decode("utf-8", errors="replace")


def bytes_of(shop: Shop) -> bytes:
    url = shop.runtime.ledger.engine.url
    if url.get_backend_name() != "sqlite":
        return b""
    paths = [f"{url.database}{end}" for end in ("", "-wal")]
    found = []
    for path in paths:
        with open(path, "rb") as file:
            found.append(file.read())
    return b"".join(found)


def assert_nothing_in_clear(shop: Shop, *more: str) -> None:
    text = everything(shop) + "".join(more)
    for value in PERSON.values():
        assert value not in text
        assert json.dumps(value)[1:-1] not in text


def submissions(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies of the submissions that the provider is sent from now on."""
    provider, sent = shop.runtime.lines["shop"].provider, []
    build = provider.submission

    def noting(facts: RefundFacts) -> Call:
        call = build(facts)
        sent.append(json.loads(call.body))
        return call

    monkeypatch.setattr(provider, "submission", noting)
    return sent


def personal_of(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in PERSON if name in body}


def test_the_provider_is_sent_what_nothing_else_shows(
    shop: Shop, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = submissions(shop, monkeypatch)
    order_id = shop.accept(announce={"task": "told"}).order_id
    assert_nothing_in_clear(shop)
    submit(shop.runtime, order_id)
    assert shop.state(number_of(shop)) is State.SUCCEEDED
    assert [personal_of(body) for body in sent] == [PERSON]
    assert sent[0]["shopName"] == "店"
    assert shop.take(amount=11) is None
    shop.wait(10 * MINUTE)
    poll(shop.runtime)
    sweep(shop.runtime)
    assert_nothing_in_clear(shop, log.getvalue())
    assert shop.audit() == []


def test_an_orders_next_refund_is_sent_with_its_own_data(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What begins with the outcome of the one before opens nothing: that is left to T1."""
    sent = submissions(shop, monkeypatch)
    order_id = shop.accept().order_id
    second = PERSON | {"recipientName": "PLANTED-李四"}
    shop.accept(refund_no=f"{number_of(shop)}b", extra=second)
    submit(shop.runtime, order_id)
    assert [personal_of(body) for body in sent] == [PERSON, second]
    assert shop.audit() == []


def test_a_refund_without_personal_data_keeps_none_and_needs_no_key(shop: Shop) -> None:
    bare = with_keys(shop)
    order_id = bare.accept(extra={"shopName": "店"}).order_id
    submit(bare.runtime, order_id)
    assert bare.state(number_of(shop)) is State.SUCCEEDED
    assert bare.value("SELECT count(*) FROM personal_data") == 0


def test_without_a_key_it_is_refused_and_what_to_do_is_said(shop: Shop) -> None:
    bare = with_keys(shop)
    assert bare.refused() == "personal_key"
    said = bare.value("SELECT reason FROM refused_jobs")
    assert "recipientAddress, recipientName, recipientPhone: " in said
    assert "REFUNDRY_PERSONAL_KEYS is not set" in said
    assert_nothing_in_clear(bare)
    assert not shop.accept().repeated


def test_personal_data_anywhere_but_in_extra_itself_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop.runtime.lines["shop"].provider, "check", lambda _: [])
    hidden = {"notes": [{"recipientName": PERSON["recipientName"]}]}
    with pytest.raises(Refused, match="recipientName must stand in extra itself"):
        accept(shop.runtime, shop.job(extra=hidden))
    with pytest.raises(Refused, match="must stand in extra itself"):
        accept(shop.runtime, shop.job(extra={}, items=[hidden]))


def test_the_same_job_is_the_same_refund_and_another_person_is_another_one(shop: Shop) -> None:
    first = shop.accept()
    assert shop.accept().refund_id == first.refund_id
    rotated = with_keys(shop, OTHER, KEY)
    assert rotated.accept().repeated
    others: tuple[dict[str, Any], ...] = (
        PERSON | {"recipientPhone": "13800001111"},
        {"recipientName": PERSON["recipientName"]},
        {},
    )
    for other in others:
        with pytest.raises(Conflict, match="stands for another refund"):
            accept(shop.runtime, shop.job(extra={"shopName": "店", **other}))
    plain = shop.job(order_no=f"{APPID}Oplain", refund_no=f"{APPID}Rplain", extra={})
    accept(shop.runtime, plain)
    with pytest.raises(Conflict):
        accept(shop.runtime, plain | {"extra": PERSON})
    with pytest.raises(Refused, match="put it back") as unknown:
        accept(with_keys(shop, OTHER).runtime, shop.job())
    assert unknown.value.code == "personal_key"
    assert shop.value("SELECT count(*) FROM refunds") == 2


def test_a_key_that_is_missing_keeps_a_refund_waiting_until_it_is_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attempt is used up, nothing spins, a person is told; then it goes by itself."""
    sent = submissions(shop, monkeypatch)
    order_id = shop.accept().order_id
    wrong = with_keys(shop, OTHER)
    for _ in range(4):
        submit(wrong.runtime, order_id)
        assert sweep(wrong.runtime).wake == []
        shop.wait(timedelta(minutes=6))
        assert sweep(wrong.runtime).wake == [order_id]
    assert (wrong.state(number_of(shop)), sent) == (State.QUEUED, [])
    assert shop.value("SELECT count(*) FROM attempts") == 0
    assert shop.value("SELECT count(*) FROM events") == 1
    (case,) = shop.rows("SELECT kind, evidence FROM cases")
    assert (case.kind, "put it back" in str(case.evidence)) == ("sealed", True)
    submit(with_keys(shop, OTHER, KEY).runtime, order_id)
    assert shop.state(number_of(shop)) is State.SUCCEEDED
    assert [personal_of(body) for body in sent] == [PERSON]
    assert shop.audit() == []


def test_what_was_tampered_with_is_not_sent_and_can_be_canceled(shop: Shop) -> None:
    order_id = shop.accept().order_id
    shop.execute("UPDATE personal_data SET sealed = 'rubbish'")
    submit(shop.runtime, order_id)
    assert shop.state(number_of(shop)) is State.QUEUED
    assert shop.value("SELECT kind FROM cases") == "sealed"
    cancel_refund(shop.runtime, "shop", number_of(shop))
    assert shop.state(number_of(shop)) is State.CANCELED


def test_what_was_sealed_for_another_refund_is_not_sent(shop: Shop) -> None:
    order_id = shop.accept().order_id
    other = shop.runtime.seals.seal("guanaitong/x/R9", PERSON).token
    shop.execute("UPDATE personal_data SET sealed = :other", other=other)
    submit(shop.runtime, order_id)
    assert shop.state(number_of(shop)) is State.QUEUED
    assert shop.value("SELECT kind FROM cases") == "sealed"


def test_what_the_provider_repeats_is_not_kept(
    shop: Shop, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"{PERSON['recipientName']} at {PERSON['recipientAddress']} is unknown"

    def repeating(facts: RefundFacts, answer: Answer) -> Outcome:
        return Outcome(verdict=Verdict.REJECTED, code="E1", message=said)

    monkeypatch.setattr(shop.runtime.lines["shop"].provider, "read_submission", repeating)
    order_id = shop.accept(announce={"task": "told"}).order_id
    submit(shop.runtime, order_id)
    assert shop.value("SELECT message FROM attempts") == "*** at *** is unknown"
    assert_nothing_in_clear(shop, log.getvalue())


def test_an_answer_that_repeats_a_person_in_its_words_is_kept_without(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = shop.runtime.lines["shop"].wire
    post = wire.post
    said = {"code": 1000210900, "msg": f"no {PERSON['recipientName']}", "data": None}

    def repeating(call: Call, gate: Callable[[], None] = always) -> Answer:
        answer = post(call, gate)
        return replace(answer, body=json.dumps(said).encode()) if "Refund" in call.url else answer

    monkeypatch.setattr(wire, "post", repeating)
    submit(shop.runtime, shop.accept().order_id)
    assert '"msg":"no ***"' in shop.value("SELECT answer FROM attempts")
    assert_nothing_in_clear(shop)


def settled(shop: Shop, verdict: Verdict = Verdict.SUCCEEDED) -> int:
    intent = shop.claim(shop.accept().order_id)
    assert intent is not None
    shop.settle(intent, verdict)
    return intent.refund.id


def sealed_columns(shop: Shop) -> list[Any]:
    (row,) = shop.rows("SELECT key_id, sealed, digest FROM personal_data")
    return list(row)


@pytest.mark.parametrize("verdict", [Verdict.SUCCEEDED, Verdict.REJECTED])
def test_it_is_purged_once_its_refund_has_been_final_for_days(shop: Shop, verdict: Verdict) -> None:
    settled(shop, verdict)
    shop.wait(6 * DAY)
    assert keeping.tidy(shop.runtime).purged == 0
    assert None not in sealed_columns(shop)
    before = everything(shop)
    shop.wait(DAY)
    assert keeping.tidy(shop.runtime).purged == 1
    assert sealed_columns(shop) == [None] * 3
    assert keeping.tidy(shop.runtime).purged == 0
    assert_nothing_decryptable(shop, before)
    assert (shop.audit(), shop.accept().repeated) == ([], True)


def assert_nothing_decryptable(shop: Shop, before: str) -> None:
    """Whatever looks like a token in any table is no key's; it was one before."""
    tokens = re.compile(r"gAAAAA[\w=-]+")
    with shop.runtime.ledger.read() as connection:
        rows = "".join(str(connection.execute(select(t)).all()) for t in metadata.sorted_tables)
    assert tokens.findall(before)
    assert tokens.findall(rows) == []


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.PENDING, Verdict.BUSY])
def test_what_is_not_final_is_kept_for_it_may_be_sent_again(shop: Shop, verdict: Verdict) -> None:
    settled(shop, verdict)
    shop.wait(100 * DAY)
    assert keeping.tidy(shop.runtime).purged == 0


def test_a_failed_refund_is_sent_again_with_its_data_until_that_was_purged(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = shop.runtime.lines["shop"].provider
    monkeypatch.setattr(provider, "traits", replace(provider.traits, resubmits=True))
    settled(shop, Verdict.REJECTED)
    shop.wait(6 * DAY)
    order_id = resubmit_refund(shop.runtime, "shop", number_of(shop), 1)
    shop.wait(10 * DAY)
    assert keeping.tidy(shop.runtime).purged == 0
    intent = shop.claim(order_id)
    assert intent is not None
    assert intent.personal == PERSON
    shop.settle(intent, Verdict.REJECTED)
    shop.wait(7 * DAY)
    assert keeping.tidy(shop.runtime).purged == 1
    with pytest.raises(Refused, match="request a new refund") as refused:
        resubmit_refund(shop.runtime, "shop", number_of(shop), 2)
    assert refused.value.code == "personal_purged"


def test_a_resubmission_and_a_purge_at_once_leave_no_refund_without_its_data(
    postgres_ledger: Ledger, make_shop: MakeShop, sim: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"provider": "guanaitong", "base_url": f"{sim.url}/gat"} | OWN_OPTIONS["guanaitong"]
    shop = with_keys(make_shop(postgres_ledger, shop=own), KEY)
    provider = shop.runtime.lines["shop"].provider
    monkeypatch.setattr(provider, "traits", replace(provider.traits, resubmits=True))
    for number in range(8):
        named = {"order_no": f"{APPID}O{number}", "refund_no": f"{APPID}R{number}"}
        shop.usual |= {**named, "reason": "退", "extra": PERSON}
        settled(shop, Verdict.REJECTED)
    shop.wait(8 * DAY)

    def step(number: int) -> None:
        if number % 2:
            keeping.purge(shop.runtime, DAY, limit=3)
            return
        for one in range(number, number + 2):
            with suppress(Refused):
                resubmit_refund(shop.runtime, "shop", f"{APPID}R{one}", 1)

    race(step)
    lost = "SELECT count(*) FROM refunds r JOIN personal_data p ON p.refund_id = r.id"
    assert shop.value(f"{lost} WHERE r.state = 'queued' AND p.purged_at IS NOT NULL") == 0


def test_a_former_key_is_let_go_once_its_data_was_sealed_anew(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = submissions(shop, monkeypatch)
    order_id = shop.accept().order_id
    rotated = with_keys(shop, OTHER, KEY)
    assert keeping.tidy(rotated.runtime).sealed_anew == 1
    assert keeping.tidy(rotated.runtime).sealed_anew == 0
    with pytest.raises(CannotOpen):
        shop.runtime.seals.open("x", *sealed_columns(shop)[:2])
    last = with_keys(shop, OTHER)
    assert last.accept().repeated
    submit(last.runtime, order_id)
    assert [personal_of(body) for body in sent] == [PERSON]


def test_a_key_that_is_not_there_seals_nothing_anew_and_loses_nothing(shop: Shop) -> None:
    shop.accept()
    before = sealed_columns(shop)
    assert keeping.tidy(with_keys(shop, OTHER).runtime).sealed_anew == 0
    assert sealed_columns(shop) == before


@pytest.fixture
def from_before(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A refund that an older version has taken in: its request says who it is in clear."""
    with monkeypatch.context() as older:
        older.setattr(intake, "taken_apart", lambda runtime, line, request: (request, None))
        shop.accept()
    return shop


def test_what_stands_in_clear_is_sealed_and_goes_on(
    from_before: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = from_before
    assert PERSON["recipientPhone"] in everything(shop)
    assert (shop.audit(), shop.accept().repeated) == ([], True)
    with pytest.raises(Refused, match="set it first"):
        keeping.seal_clear(with_keys(shop).runtime)
    assert keeping.seal_clear(shop.runtime) == 1
    assert keeping.seal_clear(shop.runtime) == 0
    rows = str([shop.rows(f"SELECT * FROM {table}") for table in metadata.tables])
    assert not [value for value in PERSON.values() if value in rows]
    assert (shop.audit(), shop.accept().repeated) == ([], True)
    with pytest.raises(Conflict):
        accept(shop.runtime, shop.job(extra=PERSON | {"recipientName": "李四"}))
    sent = submissions(shop, monkeypatch)
    submit(shop.runtime, shop.value("SELECT order_id FROM refunds"))
    assert [personal_of(body) for body in sent] == [PERSON]
    assert shop.audit() == []


def test_what_stands_in_clear_is_sent_as_ever_before_it_is_sealed(
    from_before: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = with_keys(from_before)
    sent = submissions(bare, monkeypatch)
    submit(bare.runtime, bare.value("SELECT order_id FROM refunds"))
    assert [personal_of(body) for body in sent] == [PERSON]


def test_the_audit_sees_a_request_that_was_changed_after_it_was_sealed(from_before: Shop) -> None:
    keeping.seal_clear(from_before.runtime)
    changed = json.dumps({"reason": "other", "operator": "", "items": [], "extra": {}})
    from_before.execute("UPDATE refunds SET request = :changed", changed=changed)
    assert [found.promise for found in from_before.audit()] == ["I10"]
