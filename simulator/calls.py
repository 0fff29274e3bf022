"""The life of one call: arrival, delay, processing, and an answer that the fault may spoil."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from simulator import bank
from simulator.book import Record
from simulator.deliveries import HELD, Line, deliver
from simulator.draws import chance
from simulator.kinds import Fault
from simulator.lines import Json
from simulator.providers.base import (
    Answer,
    Balances,
    OrderFigures,
    OrderQuestion,
    Provider,
    Query,
    RawCall,
    RefusedError,
    Reply,
    Said,
    Submit,
)
from simulator.world import World

OUTAGE = Answer(body=b"Service Unavailable", status=503, content_type="text/plain")
#: What is said of a request the provider never processed; no delivery sends it.
NOTHING = Said(answer=Answer(body=b""), code="")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One well-formed submit or query that has its fault."""

    world: World
    provider: Provider
    #: ``submit`` or ``query``.
    kind: str
    merchant: str
    order: str
    refund: str
    #: Which call of its kind for this number, from 1.
    number: int
    fault: Fault

    def log(self, event: str, **fields: Any) -> None:
        self.world.log.event(
            event,
            provider=self.provider.name,
            order=self.order,
            refund=self.refund,
            **fields,
            fault=self.fault.text,
            call=self.number,
        )

    def whim(self, name: str) -> float:
        seed, provider = self.world.seed, self.provider.name
        return chance(seed, f"whim-{self.kind}-{name}", provider, self.refund, self.number)

    async def wait(self) -> None:
        """The provider's latency, and the silence of ``late``."""
        latency = self.world.draw_latency(self.kind, self.provider.name, self.refund, self.number)
        await asyncio.sleep(latency + (self.fault.seconds if self.fault.name == "late" else 0))

    async def dawdle(self) -> None:
        """The silence of ``slow``, after processing."""
        await asyncio.sleep(self.fault.seconds if self.fault.name == "slow" else 0)

    async def send(self, line: Line, said: Said) -> None:
        unsigned = self.fault.name == "bad_signature" and not self.provider.signs
        open_to_all = self.fault.name == "token_refused" and not self.provider.has_tokens
        spoilt = unsigned or open_to_all  # what cannot be wrong as named is spoilt another way
        await deliver("garbage" if spoilt else self.fault.delivery, line, said.answer)


async def handle(world: World, provider: Provider, raw: RawCall, line: Line) -> None:
    """Answers one request; NoSuchPathError if the provider has nothing there."""
    if world.is_out(provider.name):
        world.log.event("outage", provider=provider.name, path=raw.path)
        await line.answer(OUTAGE)
        return
    try:
        request = provider.read(raw)
    except RefusedError as refused:
        await line.answer(_refuse(world, provider, refused).answer)
        return
    if isinstance(request, Said):
        world.log.event("answered", provider=provider.name, path=raw.path, code=request.code)
        await line.answer(request.answer)
    elif isinstance(request, Submit):
        await _submit(world, provider, request, line)
    elif isinstance(request, OrderQuestion):
        await _balance(world, provider, request, line)
    else:
        await _query(world, provider, request, line)


async def _submit(world: World, provider: Provider, request: Submit, line: Line) -> None:
    call = _call(world, provider, "submit", request, request.order, request.refund)
    call.log("submit_in", amount=request.amount, overlap=_overlap(call))
    with world.flights.take_off(provider.name, call.order, call.refund) as flight:
        await call.wait()
        said, facts = _process(call, partial(bank.submit, world, provider, request))
        await call.dawdle()
        call.log("submit", amount=request.amount, facts=facts)
        if call.fault.delivery not in HELD:
            flight.land()  # before the client can read the answer and send the next one
        await call.send(line, said)


async def _query(world: World, provider: Provider, request: Query, line: Line) -> None:
    refund = world.book.refund_named(provider.name, request.name)
    record = world.book.find(provider.name, refund)
    order = record.order if record else request.order
    call = _call(world, provider, "query", request, order, refund)
    await call.wait()
    said, facts = _process(call, partial(bank.query, world, provider, request, refund))
    await call.dawdle()
    call.log("query", facts=facts)
    await call.send(line, said)


async def _balance(world: World, provider: Provider, request: OrderQuestion, line: Line) -> None:
    """The faults are those of a query; a plan names the order."""
    assert isinstance(provider, Balances)
    call = _call(world, provider, "query", request, request.order, request.order)
    await call.wait()
    known = None if call.fault.name == "not_found" else _figures(world, provider, request.order)
    said = NOTHING
    if call.fault.processed:
        said = provider.balance(request, known, call.fault.name)
    await call.dawdle()
    call.log("balance", facts={"processed": call.fault.processed, "code": said.code})
    await call.send(line, said)


def _figures(world: World, provider: Provider, order: str) -> OrderFigures | None:
    paid = world.book.paid(provider.name, order)
    if paid is None:
        return None
    moved, pending = (find(provider.name, order) for find in (world.book.moved, world.book.pending))
    return OrderFigures(paid=paid, moved=moved, pending=pending)


def _call(
    world: World,
    provider: Provider,
    kind: str,
    request: Submit | Query | OrderQuestion,
    order: str,
    refund: str,
) -> Call:
    number, fault = world.draw_fault(kind, provider.name, refund)
    return Call(
        world=world,
        provider=provider,
        kind=kind,
        merchant=request.merchant,
        order=order,
        refund=refund,
        number=number,
        fault=fault,
    )


def _overlap(call: Call) -> list[str]:
    """Other refund numbers of the order that are being handled or are pending."""
    name, order = call.provider.name, call.order
    records = call.world.book.on_order(name, order)
    pending = {record.refund for record in records if record.state == "pending"}
    return sorted((pending | call.world.flights.on_order(name, order)) - {call.refund})


def _process(call: Call, act: Callable[[], Record | None]) -> tuple[Said, Json]:
    """What the provider says, and the facts of it for the log."""
    if call.fault.name == "token_refused":
        refused = RefusedError("token", "access_token check failed!", call.merchant, call.refund)
        said = _refuse(call.world, call.provider, refused)
        return said, {"processed": False, "code": said.code, "reason": refused.reason}
    if not call.fault.processed:
        return NOTHING, {"processed": False}
    try:
        record = act()
    except RefusedError as refused:
        said = _refuse(call.world, call.provider, refused)
        return said, {"processed": False, "code": said.code, "reason": refused.reason}
    said = _said(call, record)
    state = record.state if record else "not_found"
    return said, {"processed": True, "state": state, "code": said.code, "status": said.status}


def _said(call: Call, record: Record | None) -> Said:
    if record is None or call.fault.name == "not_found":
        return call.provider.not_found(call.merchant, call.fault.name)
    book, provider, order = call.world.book, call.provider.name, record.order
    reply = Reply(
        record=_twisted(record, call.fault.name),
        merchant=call.merchant,
        kind=call.kind,
        paid=book.paid(provider, order) or 0,
        moved=book.moved(provider, order),
        twist=call.fault.name,
        whim=call.whim,
    )
    return call.provider.known(reply)


def _twisted(record: Record, fault: str) -> Record:
    """The record as a spoilt answer shows it."""
    if fault == "wrong_amount":
        return replace(record, amount=record.amount + 1)
    if fault == "wrong_number":
        other = "1" if record.refund.endswith("0") else "0"
        return replace(record, refund=record.refund[:-1] + other)
    return record


def _refuse(world: World, provider: Provider, refused: RefusedError) -> Said:
    world.log.event(
        "refused",
        provider=provider.name,
        refund=refused.refund,
        reason=refused.reason,
        detail=refused.detail,
    )
    return provider.refusal(refused)
