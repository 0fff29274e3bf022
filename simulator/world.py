"""What every part of a running simulator shares."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from simulator.book import Book
from simulator.draws import chance, pick
from simulator.flights import Flights
from simulator.kinds import Fate, Fault, parse_fate, parse_fault
from simulator.log import Log
from simulator.providers.base import Provider


@dataclass(frozen=True, kw_only=True)
class World:
    """The providers, their memory and their chance."""

    seed: int
    book: Book
    log: Log
    #: By name.
    providers: dict[str, Provider]
    flights: Flights = field(default_factory=Flights)
    #: By provider, the monotonic second at which its outage ends.
    outages: dict[str, float] = field(default_factory=dict)
    #: What the providers do by themselves; kept here so that nothing drops it.
    _doings: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, doing: Coroutine[Any, Any, None]) -> None:
        """Lets a provider do something beside answering."""
        task = asyncio.get_running_loop().create_task(doing)
        self._doings.add(task)
        task.add_done_callback(self._doings.discard)

    def is_out(self, provider: str) -> bool:
        return time.monotonic() < self.outages.get(provider, 0.0)

    def draw_fault(self, kind: str, provider: str, refund: str) -> tuple[int, Fault]:
        """Counts a ``submit``, ``query`` or ``notify`` of the number: which it is, its fault."""
        turn = self.book.take_turn(kind, provider, refund)
        dial = self.book.dial(provider)
        weights = {"submit": dial.submit, "query": dial.query, "notify": dial.notify}[kind]
        draw = chance(self.seed, kind, provider, refund, turn.number)
        return turn.number, parse_fault(turn.planned or pick(weights, "ok", draw), kind)

    def draw_fate(self, provider: str, refund: str) -> Fate:
        """What the provider decides this time the number is processed."""
        turn = self.book.take_turn("fate", provider, refund)
        draw = chance(self.seed, "fate", provider, refund, turn.number)
        text = turn.planned or pick(self.book.dial(provider).fate, "succeed", draw)
        return parse_fate(text)

    def draw_latency(self, kind: str, provider: str, refund: str, call: int) -> float:
        """Seconds between arrival and processing."""
        least, most = self.book.dial(provider).latency_s
        draw = chance(self.seed, f"latency-{kind}", provider, refund, call)
        return least + (most - least) * draw
