"""The producer's side: what a request may hold, and that it is sent until it is accepted."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

import refundry
from refundry import (
    QUEUE_INTAKE,
    InvalidRequest,
    NotAccepted,
    RefundClient,
    RefundRequest,
    SendFailed,
)
from refundry.fields import MAX_DEPTH, MAX_DETAIL_BYTES, MAX_FEN
from tests.unit.builders import job

NUMBERS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)
WORDS = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029"), max_size=60
)
LEAVES = st.none() | st.booleans() | st.integers() | WORDS
DETAIL = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
)
TIMES = st.datetimes(
    min_value=datetime(1992, 1, 1),  # noqa: DTZ001
    max_value=datetime(2200, 12, 31),  # noqa: DTZ001
    timezones=st.none() | st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))]),
)
#: Nowhere does a broker listen on the discard port.
NO_BROKER = "redis://127.0.0.1:9/0"


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    """Valid jobs, with any of the optional fields stated or left out."""
    order_amount = draw(st.integers(1, MAX_FEN))
    paid = draw(st.integers(1, order_amount))
    amount = draw(st.integers(1, paid))
    optional = {
        "refunded_before": st.integers(0, paid - amount),
        "paid_at": TIMES.map(datetime.isoformat),
        "reason": WORDS,
        "operator": WORDS,
        "items": st.lists(st.dictionaries(WORDS, LEAVES, max_size=3), max_size=3),
        "extra": st.dictionaries(WORDS, LEAVES, max_size=3),
        "expected_refunded": st.integers(0, MAX_FEN),
        "announce": st.just({"task": "shop.told", "queue": "shop"}),
    }
    stated = draw(st.fixed_dictionaries({}, optional=optional))
    numbers = {name: draw(NUMBERS) for name in ("account", "order_no", "refund_no")}
    amounts = {"amount": amount, "order_amount": order_amount, "paid_amount": paid}
    return {**numbers, **amounts, **stated}


def problems_of(**changed: Any) -> list[str]:
    """The sentences that a job is refused with."""
    with pytest.raises(InvalidRequest) as caught:
        RefundRequest.read(job(**changed))
    return caught.value.problems


@given(jobs())
def test_a_request_survives_the_journey_as_a_job(kwargs: dict[str, Any]) -> None:
    request = RefundRequest.read(kwargs)
    arrived = RefundRequest.read(json.loads(json.dumps(request.job())))
    assert arrived == request
    assert arrived.model_fields_set == request.model_fields_set == set(kwargs)


@pytest.mark.parametrize("field", ["amount", "order_amount", "paid_amount", "refunded_before"])
@pytest.mark.parametrize(
    "value", [True, 50.0, 50.5, "50", -1, MAX_FEN + 1, 10**30, float("nan"), [50]]
)
def test_an_amount_is_an_integer_of_fen_within_the_bounds(field: str, value: object) -> None:
    assert any(problem.startswith(f"{field}: ") for problem in problems_of(**{field: value}))


@pytest.mark.parametrize("field", ["amount", "order_amount", "paid_amount"])
def test_nothing_cannot_be_refunded_or_paid(field: str) -> None:
    assert problems_of(**{field: 0})


@given(st.integers(1, MAX_FEN), st.integers(0, MAX_FEN), st.integers(1, MAX_FEN))
def test_a_refund_never_exceeds_its_order(amount: int, before: int, total: int) -> None:
    kwargs = job(amount=amount, refunded_before=before, order_amount=total)
    if amount + before <= total:
        assert RefundRequest.read(kwargs).amount == amount
    else:
        with pytest.raises(InvalidRequest, match="more than"):
            RefundRequest.read(kwargs)


def test_what_was_paid_is_the_orders_total_where_nobody_says_otherwise() -> None:
    assert RefundRequest.read(job(amount=100)).amount == 100
    assert "more than" in problems_of(amount=101)[0]
    assert "more than" in problems_of(paid_amount=101)[0]


@pytest.mark.parametrize("field", ["reason", "operator"])
@pytest.mark.parametrize("sign", ["\x00", "\n", "\r", "\x1b", "\x7f", "\x85", "\u2028", "\ud800"])
def test_control_characters_are_refused_wherever_they_stand(field: str, sign: str) -> None:
    assert problems_of(**{field: f"a{sign}b"})[0].startswith(f"{field}: ")
    assert problems_of(extra={"a": [{"b": sign}]})[0].startswith("extra")
    assert problems_of(extra={"a": [{sign: "b"}]})[0].startswith("extra")
    assert problems_of(items=[{"a": sign}])[0].startswith("items")


@pytest.mark.parametrize("number", ["", "R 1", "R\n", "退款1", "R" * 65, "R\x00", 7, None])
@pytest.mark.parametrize("field", ["account", "order_no", "refund_no"])
def test_a_number_is_visible_ascii(field: str, number: object) -> None:
    assert problems_of(**{field: number})[0].startswith(f"{field}: ")


@pytest.mark.parametrize("extra", ["13800001111", {"recipientPhone": 13800001111.5}])
def test_what_may_say_who_a_person_is_is_never_in_the_problem(extra: Any) -> None:
    (problem,) = problems_of(extra=extra)
    assert problem.startswith("extra: ")
    assert "13800001111" not in problem


@pytest.mark.parametrize("value", [1.5, 1e30, float("inf")])
def test_a_float_in_the_providers_fields_is_refused(value: float) -> None:
    assert "float" in problems_of(extra={"a": [{"b": value}]})[0]
    assert "float" in problems_of(items=[{"price": value}])[0]


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 200, 900])
def test_deeply_nested_fields_are_refused(depth: int) -> None:
    nested: Any = 1
    for _ in range(depth):
        nested = {"a": nested}
    assert problems_of(extra=nested)
    assert problems_of(items=[nested])


def test_huge_fields_are_refused() -> None:
    text = "退" * (MAX_DETAIL_BYTES // 3)
    assert "bytes of JSON" in problems_of(extra={"a": text})[0]
    assert "bytes of JSON" in problems_of(items=[{"a": text}])[0]
    assert problems_of(reason="x" * 257)


@given(DETAIL)
def test_what_the_provider_asks_for_is_kept_as_it_is(value: Any) -> None:
    nested = {"a": value}
    try:
        request = RefundRequest.read(job(extra=nested))
    except InvalidRequest as error:
        assert "nested" in str(error)  # noqa: PT017
    else:
        assert request.job()["extra"] == nested


def test_chinese_and_curly_quotes_are_kept() -> None:
    reason = "顾客说“不要了”, ‘七天无理由’ – émoji 🧧"
    request = RefundRequest.read(job(reason=reason, items=[{"item_name": reason}]))
    assert json.loads(json.dumps(request.job()))["reason"] == reason
    assert request.items == [{"item_name": reason}]


@pytest.mark.parametrize(
    ("given_time", "utc"),
    [
        ("2026-01-31T12:00:00+08:00", datetime(2026, 1, 31, 4, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00", datetime(2026, 1, 31, 4, tzinfo=UTC)),
        ("2026-01-31 12:00:00.250", datetime(2026, 1, 31, 4, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 30, 16, tzinfo=UTC)),
        ("20260131T120000+0800", datetime(2026, 1, 31, 4, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_shanghais(given_time: str, utc: datetime) -> None:
    assert RefundRequest.read(job(paid_at=given_time)).paid_at == utc


@pytest.mark.parametrize("value", [1769832000, "1769832000", "yesterday", "", True, {}, "31/1/26"])
def test_a_time_in_another_form_is_refused(value: object) -> None:
    assert problems_of(paid_at=value)[0].startswith("paid_at: ")


@pytest.mark.parametrize(
    "target",
    [
        {},
        {"queue": "q"},
        {"task": "t", "url": "https://shop.example/told"},
        {"url": "https://shop.example/told", "queue": "q"},
        {"url": "ftp://shop.example/told"},
        {"task": "os.system('x')"},
        {"task": "t", "retries": 3},
        "shop.told",
    ],
)
def test_an_announcement_has_one_target(target: object) -> None:
    assert problems_of(announce=target)[0].startswith("announce")


def test_an_announcement_goes_to_a_task_with_or_without_a_queue_or_to_a_url() -> None:
    for target in ({"task": "t"}, {"task": "t", "queue": "q"}, {"url": "https://a.example/b"}):
        assert RefundRequest.read(job(announce=target)).job()["announce"] == target


@pytest.mark.parametrize("kwargs", [None, [], "x", 7, {"a": 1}, {}])
def test_what_is_no_job_is_refused_with_a_sentence_a_field(kwargs: object) -> None:
    with pytest.raises(InvalidRequest):
        RefundRequest.read(kwargs)


def test_a_field_nobody_knows_is_refused_by_name() -> None:
    assert problems_of(amuont=50)[0].startswith("amuont: ")


def test_the_public_names_are_these() -> None:
    assert sorted(refundry.__all__) == [
        "Announce",
        "Event",
        "InvalidRequest",
        "NotAccepted",
        "QUEUE_INTAKE",
        "RefundClient",
        "RefundRequest",
        "SendFailed",
        "State",
        "TASK_REQUEST",
        "TASK_RESUBMIT",
    ]
    assert all(hasattr(refundry, name) for name in refundry.__all__)


def test_a_producer_needs_neither_the_ledgers_nor_the_providers_libraries() -> None:
    names = "{'sqlalchemy', 'requests', 'alembic', 'pydantic_settings', 'config', 'worker'}"
    code = f"import sys, refundry; print(sorted({names} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.fixture
def queue(valkey: str) -> Any:
    """The broker's own view of the intake queue, empty at first."""
    server = redis.Redis.from_url(valkey)
    server.delete(QUEUE_INTAKE)
    yield server
    server.delete(QUEUE_INTAKE)
    server.close()


def test_a_request_is_sent_until_its_acceptance_was_announced(valkey: str, queue: Any) -> None:
    request = RefundRequest.read(job())
    with RefundClient(valkey) as client:
        client.request_until_accepted(
            request,
            lambda: queue.llen(QUEUE_INTAKE) >= 3,
            resend_every_s=0.05,
            look_every_s=0.01,
            give_up_after_s=20,
        )
    assert queue.llen(QUEUE_INTAKE) == 3
    bodies = {json.loads(message)["body"] for message in queue.lrange(QUEUE_INTAKE, 0, -1)}
    assert len(bodies) == 1


def test_nothing_is_sent_for_what_is_accepted_already(valkey: str, queue: Any) -> None:
    with RefundClient(valkey) as client:
        client.request_until_accepted(RefundRequest.read(job()), lambda: True)
    assert queue.llen(QUEUE_INTAKE) == 0


def test_a_broker_that_is_away_is_named_once_and_borne_while_sending_until_accepted() -> None:
    with RefundClient(NO_BROKER) as client:
        with pytest.raises(SendFailed, match="did not take"):
            client.request(RefundRequest.read(job()))
        with pytest.raises(NotAccepted, match="R1"):
            client.request_until_accepted(
                RefundRequest.read(job()),
                lambda: False,
                resend_every_s=0.05,
                look_every_s=0.01,
                give_up_after_s=0.2,
            )
