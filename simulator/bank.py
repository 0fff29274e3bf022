"""What a provider does with a request once it has it: deduplicates, decides, moves money."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from simulator import notices
from simulator.book import Record
from simulator.draws import digits
from simulator.kinds import Fate, parse_fate
from simulator.providers.base import Provider, Query, RefusedError, Submit
from simulator.world import World


def submit(world: World, provider: Provider, request: Submit) -> Record:
    """The record after the request: a new one, the known one again, or RefusedError."""
    record = _bound(world, provider, request)
    if record and (record.order, record.amount) != (request.order, request.amount):
        detail = "the number was used with another order or amount"
        raise RefusedError("content_changed", detail, request.merchant, request.refund)
    if record and not world.book.dial(provider.name).deduplicates:
        return _execute(world, record)
    others = [r for r in world.book.on_order(provider.name, request.order) if r != record]
    try:
        takes_on = provider.takes_on(record, others)
    except RefusedError as refused:
        raise refused.about(request.merchant, request.refund) from None
    return _process(world, provider, request) if takes_on or record is None else record


def query(world: World, provider: Provider, request: Query, refund: str) -> Record | None:
    """The record, one query older; None for an unknown number."""
    record = world.book.find(provider.name, refund)
    if record is None:
        return None
    if request.order not in ("", record.order):
        raise RefusedError(
            "order_differs", "the number is of another order", request.merchant, refund
        )
    turns = record.state == "succeeded" and parse_fate(record.fate).name == "reversal"
    return _grow_older(world, record) if turns or record.state == "pending" else record


def _bound(world: World, provider: Provider, request: Submit) -> Record | None:
    """The record that binds the request's number, unless a decline has freed it."""
    record = world.book.find(provider.name, request.refund)
    frees = world.book.dial(provider.name).decline_frees_number
    return None if record and record.state == "failed" and frees else record


def _process(world: World, provider: Provider, request: Submit) -> Record:
    if world.book.paid(provider.name, request.order) is None:
        world.book.set_paid(provider.name, request.order, request.paid)
    fate = world.draw_fate(provider.name, request.refund)
    record = _new_record(world, provider, request, fate)
    if not _fits(world, record):
        return _decline(world, record, "退款总金额超过实付金额")
    if fate.name == "decline":
        return _decline(world, record, "商户余额不足")
    if fate.name in ("succeed", "reversal"):
        return _execute(world, record)
    world.book.keep(record)
    if record.settles_at is not None:
        world.start(settle_in_time(world, record))
    return record


async def settle_in_time(world: World, record: Record) -> None:
    """What is pending settles by itself at its time, unless a query was first."""
    at = record.settles_at or 0.0
    await asyncio.sleep(max(0.0, at - time.time()))
    now = world.book.find(record.provider, record.refund)
    if now is not None and (now.state, now.settles_at) == ("pending", at):
        _settle(world, now)


def _new_record(world: World, provider: Provider, request: Submit, fate: Fate) -> Record:
    settle_s = world.book.settle_s(provider.name, request.refund)
    record = Record(
        provider=provider.name,
        merchant=request.merchant,
        notify_url=request.notify_url,
        settles_at=None if settle_s is None else time.time() + settle_s,
        order=request.order,
        refund=request.refund,
        amount=request.amount,
        state="pending",
        fate=fate.text,
        provider_refund_no="",
        memo=request.memo,
    )
    number = digits(24, world.seed, "number", provider.name, request.refund)
    names = provider.own_names(record, number)
    return replace(record, provider_refund_no=names[0], aliases=names)


def _fits(world: World, record: Record) -> bool:
    """Whether the order has enough left; what is pending is taken already."""
    taken = sum(
        other.amount
        for other in world.book.on_order(record.provider, record.order)
        if other.state != "failed" and other.refund != record.refund
    )
    return taken + record.amount <= (world.book.paid(record.provider, record.order) or 0)


def _grow_older(world: World, record: Record) -> Record:
    record = replace(record, asked=record.asked + 1)
    if not parse_fate(record.fate).settles_at(record.asked):
        world.book.keep(record)
        return record
    return _settle(world, record)


def _settle(world: World, record: Record) -> Record:
    if parse_fate(record.fate).name == "reversal":
        return _decline(world, record, "退款被银行退回")
    if parse_fate(record.fate).name == "pending_decline":
        return _decline(world, record, "银行退款失败")
    return _execute(world, record)


def _decline(world: World, record: Record, reason: str) -> Record:
    record = replace(record, state="failed", reason=reason, settled_at=time.time())
    world.book.keep(record)
    notices.tell(world, record)
    return record


def _execute(world: World, record: Record) -> Record:
    """Money moves, here and nowhere else."""
    executions = record.executions + 1
    record = replace(record, state="succeeded", executions=executions, settled_at=time.time())
    world.book.keep(record)
    world.log.event(
        "EXECUTED",
        provider=record.provider,
        order=record.order,
        refund=record.refund,
        amount=record.amount,
        fate=record.fate,
    )
    notices.tell(world, record)
    return record
