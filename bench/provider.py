"""A provider that costs next to nothing: the wire of ``quickpay``, its book in memory.

A submission is accepted (``CREATE``) and the first question about it answered ``REFUNDED``, each
after the latency that was asked for; where ``synchronous`` is set, a submission is final at once.
Where ``known_amount`` is set, it knows every number, as one of so many fen.
It notes when each refund came first, which came twice, and which came while another of its order
was on its way.

``python -m bench.provider`` prints its port. ``POST /start`` begins a new book, ``/sums`` counts,
``/book`` lists; times are seconds of the machine's monotonic clock, which all processes share.
"""

import asyncio
import json
import time
from collections import Counter
from typing import Any, Final

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_SUBMIT: Final = "/QuickPay/Refund"
_ASK: Final = "/QuickPay/RefundQuery"

Json = dict[str, Any]


class Book:
    """What the provider saw since the last ``start``."""

    def __init__(
        self,
        latency_s: float = 0.0,
        *,
        synchronous: bool = False,
        known_amount: int | None = None,
    ) -> None:
        self.latency_s = latency_s
        self._synchronous, self._known_amount = synchronous, known_amount
        self._amounts: dict[str, int] = {}
        self._submitted: dict[str, float] = {}
        self._finished: dict[str, float] = {}
        self._under_way: Counter[str] = Counter()
        self._calls = self._duplicates = self._overlaps = 0

    def begin(self, path: str, fields: Json) -> None:
        """A call came in."""
        self._calls += 1
        if path == _SUBMIT:
            number, order = fields["refund_no"], fields["order_no"]
            self._duplicates += number in self._submitted
            self._overlaps += bool(self._under_way[order])
            self._under_way[order] += 1
            self._submitted.setdefault(number, time.monotonic())

    def answer(self, path: str, fields: Json) -> Json:
        """Its answer, the latency having passed."""
        if path == _SUBMIT:
            number = fields["refund_no"]
            self._under_way[fields["order_no"]] -= 1
            self._amounts[number] = fields["refund_amount"]
        else:
            number = fields["refund_order_no"]
        amount = self._amounts.get(number, self._known_amount)
        if amount is None:
            return {"code": "NOT_FOUND", "msg": "no such refund"}
        final = path == _ASK or self._synchronous
        if final:
            self._finished.setdefault(number, time.monotonic())
        data = {
            "transaction_status": "REFUNDED" if final else "CREATE",
            "order_no": fields["order_no"],
            "refund_order_no": number,
            "refund_amount": amount,
            "refund_transaction_no": f"T{number}",
        }
        return {"code": "SUCCESS", "msg": "OK", "data": data}

    def sums(self) -> Json:
        """Counts, and when the last refund became final."""
        return {
            "calls": self._calls,
            "submitted": len(self._submitted),
            "finished": len(self._finished),
            "last": next(reversed(self._finished.values()), 0.0),
            "duplicates": self._duplicates,
            "overlaps": self._overlaps,
        }

    def listing(self) -> Json:
        """When each refund came first, and when it became final."""
        return {"submitted": self._submitted, "finished": self._finished}


class World:
    """The book of the run that is going on."""

    def __init__(self) -> None:
        self.book = Book()

    def control(self, path: str, fields: Json) -> Json:
        """What the bench itself asks; empty for an unknown path."""
        if path == "/start":
            self.book = Book(**fields)
        return self.book.listing() if path == "/book" else self.book.sums()


class Connection(asyncio.Protocol):
    """One kept-alive connection; a request is read whole, then answered."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        end = self._bytes.find(_HEAD_END)
        if end < 0:
            return
        head = self._bytes[:end].lower()
        at = head.find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = self._bytes[end + 4 :]
        if len(body) < length:
            return
        path = self._bytes.split(b" ", 2)[1].decode()
        self._bytes = b""
        self._take(path, json.loads(body) if body else {})

    def _take(self, path: str, fields: Json) -> None:
        book = self._world.book
        if path not in (_SUBMIT, _ASK):
            self._say(self._world.control(path, fields))
        elif book.latency_s:
            book.begin(path, fields)
            loop = asyncio.get_running_loop()
            loop.call_later(book.latency_s, lambda: self._say(book.answer(path, fields)))
        else:
            book.begin(path, fields)
            self._say(book.answer(path, fields))

    def _say(self, answer: Json) -> None:
        body = json.dumps(answer).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)


async def serve() -> None:
    """Listen on loopback and print the port."""
    world = World()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(world), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
