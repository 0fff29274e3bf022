"""What a provider module reads and writes; the rest of the simulator knows no wire format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

from simulator.book import Record
from simulator.lines import Json


@dataclass(frozen=True, kw_only=True)
class RawCall:
    """A request as it came."""

    #: Below the provider's prefix, e.g. ``/QuickPay/Refund``.
    path: str
    content_type: str
    body: bytes
    #: Of the URL, without its question mark.
    query: str = ""


@dataclass(frozen=True, kw_only=True)
class Submit:
    """A well-formed request to refund. Amounts are fen."""

    #: Who asks, as named in the merchants file; empty where the provider knows no merchants.
    merchant: str
    order: str
    refund: str
    amount: int
    #: What counts as paid if ``/_sim/orders`` never named the order: 1,000,000.00 yuan, unless the
    #: request says.
    paid: int = 100_000_000
    #: Where it asks to be notified; empty where it does not.
    notify_url: str = ""
    #: Fields of the request that answers repeat.
    memo: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A well-formed question about one refund."""

    merchant: str
    #: The refund number or one of the provider's own names for it.
    name: str
    #: The order it names; empty where a query names none.
    order: str = ""


@dataclass(frozen=True, kw_only=True)
class OrderQuestion:
    """A well-formed question about a whole order."""

    merchant: str
    order: str


@dataclass(frozen=True, kw_only=True)
class OrderFigures:
    """What the book says of a whole order, in fen."""

    paid: int
    moved: int
    #: What refunds that are pending will take.
    pending: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back over HTTP."""

    body: bytes
    status: int = 200
    content_type: str = "application/json;charset=UTF-8"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a provider module needs to write an answer about a refund it knows."""

    record: Record
    merchant: str
    #: What is answered: ``submit`` or ``query``; or ``notify``.
    kind: str
    #: Fen paid on the order, and fen refunded so far.
    paid: int
    moved: int
    #: The fault; a module obeys ``unknown_code``, ``unknown_status`` and ``bad_signature``; of a
    #: notification ``forged``, and ``stale`` (an hour old) where its page has a time.
    twist: str
    #: A number in [0, 1) for a named whim of this answer.
    whim: Callable[[str], float]


@dataclass(frozen=True, kw_only=True)
class Message:
    """A notification as it goes out."""

    body: bytes
    #: The exact bytes of the answer that is taken for "understood"; else it is sent again.
    acknowledgement: bytes
    content_type: str = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Said:
    """A written answer, and the facts of it for the log."""

    answer: Answer
    code: str
    status: str = ""


class RefusedError(Exception):
    """Raised when a request is malformed or wrongly signed; nothing was done."""

    def __init__(self, reason: str, detail: str, merchant: str = "", refund: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.merchant, self.refund = reason, detail, merchant, refund

    def about(self, merchant: str, number: object) -> RefusedError:
        """The same, with the merchant and the refund number as far as they can be read."""
        refund = number if isinstance(number, str) else ""
        return RefusedError(self.reason, self.detail, merchant, refund)


class NoSuchPathError(Exception):
    """Raised when the provider has nothing at the path."""


class Provider(Protocol):
    """One provider's wire format and habits."""

    #: As the control messages and the log spell it.
    name: str
    #: Where its base URL begins.
    prefix: str
    #: Whether answers carry a signature.
    signs: bool
    #: Whether calls need an access token.
    has_tokens: bool

    def read(self, call: RawCall) -> Submit | Query | OrderQuestion | Said:
        """The request in the simulator's words; RefusedError or NoSuchPathError.

        What is no refund's business, such as a token, is answered by the module itself.
        """

    def takes_on(self, known: Record | None, others: list[Record]) -> bool:
        """Whether a submit is processed, rather than answered from what is known of its number.

        ``others`` are the order's other refunds; a RefusedError says no to the submit.
        """

    def own_names(self, record: Record, number: str) -> tuple[str, ...]:
        """The provider's names of a new refund, its own number first; ``number``: 24 digits."""

    def known(self, reply: Reply) -> Said:
        """The answer to a submit or query about a refund the provider knows."""

    def not_found(self, merchant: str, twist: str) -> Said:
        """The answer to a query about a number the provider does not know."""

    def notification(self, reply: Reply) -> Message | None:
        """What it tells by itself of a refund in this state; None where it tells nothing."""

    def refusal(self, refused: RefusedError) -> Said:
        """The answer to a request that was refused; definitive only where its page says so."""


@runtime_checkable
class Balances(Protocol):
    """A provider that can be asked for an order's figures."""

    def balance(self, question: OrderQuestion, figures: OrderFigures | None, twist: str) -> Said:
        """The answer; None: no such order."""


class Fields:
    """Reads a request's fields strictly; a breach raises RefusedError with the field's name."""

    def __init__(self, fields: Json) -> None:
        self._fields = fields

    def text(self, name: str, most: int = 512) -> str:
        """A mandatory text of 1 to ``most`` characters."""
        value = self._fields.get(name)
        if not isinstance(value, str) or not 1 <= len(value) <= most:
            raise RefusedError("malformed", f"{name} must be a text of 1 to {most} characters")
        return value

    def optional_text(self, name: str, most: int = 512) -> str:
        """A text that may be absent, null or empty."""
        return "" if self._fields.get(name) in (None, "") else self.text(name, most)

    def integer(self, name: str, least: int, most: int) -> int:
        """A mandatory JSON integer within bounds."""
        value = self._fields.get(name)
        if type(value) is not int or not least <= value <= most:
            raise RefusedError("malformed", f"{name} must be an integer from {least} to {most}")
        return value


def read_json(call: RawCall, content_types: tuple[str, ...]) -> Json:
    """The body as a JSON object; numbers with a fraction become Decimal, as they were written."""
    if call.content_type.partition(";")[0].strip().lower() not in content_types:
        raise RefusedError("malformed", f"Content-Type is {call.content_type!r}")
    try:
        value = json.loads(
            call.body.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise RefusedError("malformed", "the body is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise RefusedError("malformed", "the body is not a JSON object")
    return value


def write_json(fields: Json) -> Answer:
    return Answer(body=json.dumps(fields, ensure_ascii=False).encode())


def _no_constant(name: str) -> Any:
    raise ValueError(name)
