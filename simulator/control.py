"""``/_sim``: the dial, plans, orders, outages, statements, and a look into the book."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from tornado.web import RequestHandler

from simulator.deliveries import REDIRECTED
from simulator.dial import is_number
from simulator.lines import Json
from simulator.plans import read_plan
from simulator.statements import read_difference, write_statement
from simulator.world import World


class ControlError(ValueError):
    """Raised when a control message cannot be obeyed; nothing of it was."""


@dataclass(frozen=True)
class Order:
    """What a provider knows was paid, in fen."""

    provider: str
    order: str
    paid: int


class Control(RequestHandler):
    """Answers JSON; what cannot be obeyed is a 400 that says why."""

    def initialize(self, world: World) -> None:
        self.world = world

    def body_json(self) -> Any:
        try:
            return json.loads(self.request.body)
        except ValueError:
            raise ControlError("the body is not JSON") from None

    def body_object(self) -> Json:
        return _object(self.body_json())

    def body_list(self) -> list[Json]:
        value = self.body_json()
        if not isinstance(value, list):
            raise ControlError("a list of objects is needed")
        return [_object(item) for item in value]

    def provider_of(self, message: Json) -> str:
        name = message.get("provider")
        if name not in self.world.providers:
            known = ", ".join(self.world.providers)
            raise ControlError(f"provider is {name!r}; known are {known}")
        return str(name)

    def answer(self, value: Any) -> None:
        self.set_header("Content-Type", "application/json;charset=UTF-8")
        self.finish(json.dumps(value, ensure_ascii=False))

    def _handle_request_exception(self, error: BaseException) -> None:
        if isinstance(error, ValueError):
            self.set_status(400)
            self.answer({"error": str(error)})
        else:
            super()._handle_request_exception(error)


class Dials(Control):
    """``/_sim/dial``: every provider's dial, by provider."""

    def get(self) -> None:
        self.answer({name: self.world.book.dial(name).as_json() for name in self.world.providers})

    def post(self) -> None:
        change = self.body_object()
        provider = self.provider_of(change)
        settings = {name: value for name, value in change.items() if name != "provider"}
        self.world.book.set_dial(provider, self.world.book.dial(provider).merged(settings))
        self.get()


class Plans(Control):
    """``/_sim/plan``: what happens to single refunds; all of the list or nothing is taken."""

    def post(self) -> None:
        messages = self.body_list()
        plans = [
            (self.provider_of(message), _text(message, "refund"), read_plan(message))
            for message in messages
        ]
        for provider, refund, plan in plans:
            self.world.book.set_plan(provider, refund, plan)
        self.answer({"plans": len(plans)})


class Orders(Control):
    """``/_sim/orders``: what was paid, in fen; all of the list or nothing is taken."""

    def post(self) -> None:
        orders = [self._read(message) for message in self.body_list()]
        for order in orders:
            self.world.book.set_paid(order.provider, order.order, order.paid)
        self.answer({"orders": len(orders)})

    def _read(self, message: Json) -> Order:
        paid = message.get("paid")
        if type(paid) is not int or paid < 0:
            raise ControlError(f"paid is {paid!r}: an integer of fen from 0 is needed")
        return Order(self.provider_of(message), _text(message, "order"), paid)


class Book(Control):
    """``/_sim/book``: a list, narrowed by ``provider``, ``order`` and ``refund``."""

    def get(self) -> None:
        wanted = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        unknown = set(wanted) - {"provider", "order", "refund"}
        if unknown:
            raise ControlError(f"{min(unknown)!r} narrows nothing; provider, order and refund do")
        rows = self.world.book.listing()
        self.answer([row for row in rows if all(row[k] == v for k, v in wanted.items())])


class Outage(Control):
    """``/_sim/outage``: one provider, or all where none is named, answers 503 for a while."""

    def post(self) -> None:
        message = self.body_object()
        seconds = message.get("seconds")
        if not is_number(seconds) or seconds < 0:
            raise ControlError(f"seconds is {seconds!r}: a number from 0 is needed")
        named = "provider" in message
        for name in [self.provider_of(message)] if named else self.world.providers:
            self.world.outages[name] = time.monotonic() + seconds
        self.answer({name: self.world.is_out(name) for name in self.world.providers})


class Statement(Control):
    """``/_sim/statement``: a provider's bill of its book as CSV; POST makes lines of it differ."""

    def get(self) -> None:
        provider = self.provider_of({"provider": self.get_query_argument("provider", "")})
        merchant = self.get_query_argument("merchant", "")
        self.set_header("Content-Type", "text/csv")
        self.finish(write_statement(self.world.book, provider, merchant))

    def post(self) -> None:
        messages = self.body_list()
        changes = [
            (self.provider_of(message), _text(message, "refund"), read_difference(message))
            for message in messages
        ]
        for provider, refund, how in changes:
            self.world.book.set_differing(provider, refund, how)
        self.answer({"differing": len(changes)})


class Health(Control):
    """``/_sim/health``: that it answers."""

    def get(self) -> None:
        self.answer({"ok": True})


class Redirected(Control):
    """Where a followed redirect ends: it is only logged."""

    def post(self, path: str) -> None:
        self.world.log.event("redirected", method=self.request.method, path=path)
        self.answer({"redirected": True})

    get = post


def routes(world: World) -> list[tuple[str, type[Control], dict[str, World]]]:
    """The control surface as Tornado takes it."""
    handlers: dict[str, type[Control]] = {
        "/_sim/dial": Dials,
        "/_sim/plan": Plans,
        "/_sim/orders": Orders,
        "/_sim/book": Book,
        "/_sim/outage": Outage,
        "/_sim/statement": Statement,
        "/_sim/health": Health,
        f"{REDIRECTED}(/.*)": Redirected,
    }
    return [(path, handler, {"world": world}) for path, handler in handlers.items()]


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ControlError(f"{value!r} is not an object")
    return value


def _text(message: Json, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not value:
        raise ControlError(f"{name} is {value!r}: a text is needed")
    return value
