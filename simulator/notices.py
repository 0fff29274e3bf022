"""What providers tell by themselves: a final refund is notified until it is acknowledged.

A notification that is due survives a restart; one that was acknowledged in the moment of a kill is
sent once more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from simulator.book import Notice, Record
from simulator.draws import chance
from simulator.kinds import parse_fault
from simulator.providers.base import Message, Reply
from simulator.world import World

#: Nobody outside of this machine is ever called.
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
#: Between two tries, in seconds: the first, doubled each time up to the most.
FIRST_WAIT_S = 0.1
MOST_WAIT_S = 10.0
#: The longest that a receiver is waited for, in seconds.
PATIENCE_S = 5.0
#: Notifications on their way at once.
AT_ONCE = 64
_OPPOSITE = {"succeeded": "failed", "failed": "succeeded"}


def tell(world: World, record: Record) -> None:
    """A refund has become final: where somebody asked to be notified, that is begun."""
    if not record.notify_url:
        return
    number, fault = world.draw_fault("notify", record.provider, record.refund)
    wait = world.draw_latency("notify", record.provider, record.refund, number) + fault.seconds
    notice = Notice(
        provider=record.provider,
        refund=record.refund,
        number=number,
        state=record.state,
        fault=fault.text,
        at=time.time() + wait,
    )
    world.book.keep_notice(notice)
    world.start(deliver(world, notice))


async def deliver(world: World, notice: Notice) -> None:
    """Sends everything that a notification with its fault amounts to."""
    await asyncio.sleep(max(0.0, notice.at - time.time()))
    record = world.book.find(notice.provider, notice.refund)
    if record is not None:
        for shown in _shown(replace(record, state=notice.state), notice):
            await _send(world, notice, shown)
    world.book.keep_notice(replace(notice, over=True))


def _shown(record: Record, notice: Notice) -> Iterator[Record]:
    """The record as each of the messages shows it, in their order."""
    fault = parse_fault(notice.fault, "notify").name
    if fault == "none":
        return
    if fault == "contradicting":
        yield replace(record, state=_OPPOSITE[record.state])
        return
    yield replace(record, amount=record.amount + (fault == "wrong_amount"))
    if fault == "twice":
        yield record
    if fault == "reordered":
        yield replace(record, state="pending")


async def _send(world: World, notice: Notice, shown: Record) -> None:
    """One message, the same bytes again until they are acknowledged."""
    message = _message(world, notice, shown)
    if message is None:
        return
    if not _is_loopback(shown.notify_url):
        _log(world, notice, shown, tries=0, status=None, acknowledged=False)
        return
    for number in range(world.book.dial(notice.provider).notify_tries):
        if number:
            await asyncio.sleep(min(FIRST_WAIT_S * 2 ** (number - 1), MOST_WAIT_S))
        status, body = await _post(shown.notify_url, message)
        acknowledged = body == message.acknowledgement
        _log(world, notice, shown, tries=number + 1, status=status, acknowledged=acknowledged)
        if acknowledged:
            return


def _message(world: World, notice: Notice, shown: Record) -> Message | None:
    name, refund, number = notice.provider, notice.refund, notice.number
    reply = Reply(
        record=shown,
        merchant=shown.merchant,
        kind="notify",
        paid=world.book.paid(name, shown.order) or 0,
        moved=world.book.moved(name, shown.order),
        twist=parse_fault(notice.fault, "notify").name,
        whim=lambda whim: chance(world.seed, f"whim-notify-{whim}", name, refund, number),
    )
    return world.providers[name].notification(reply)


def _is_loopback(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname in LOOPBACK


async def _post(url: str, message: Message) -> tuple[int | None, bytes]:
    """Status and body of the answer; None and nothing where there is none."""
    try:
        answer = await AsyncHTTPClient().fetch(
            url,
            method="POST",
            body=message.body,
            headers={"Content-Type": message.content_type},
            follow_redirects=False,
            connect_timeout=PATIENCE_S,
            request_timeout=PATIENCE_S,
            raise_error=False,
        )
    except (HTTPClientError, OSError, ValueError):
        return None, b""
    return answer.code, answer.body


def _log(
    world: World,
    notice: Notice,
    shown: Record,
    *,
    tries: int,
    status: int | None,
    acknowledged: bool,
) -> None:
    world.log.event(
        "notify",
        provider=notice.provider,
        order=shown.order,
        refund=notice.refund,
        state=shown.state,
        fault=notice.fault,
        call=notice.number,
        tries=tries,
        status=status,
        acknowledged=acknowledged,
    )
