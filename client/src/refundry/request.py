"""The refund request: one validated, frozen value, the same at the producer and at intake."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from refundry.fields import DETAIL, Fen, FenOrZero, Number, Text, Time

#: More than a request has; one sentence says it of all of them.
_MAX_FIELDS = 64
#: Of a field's name in a sentence, in characters.
_MAX_NAME = 100


class InvalidRequest(ValueError):
    """Raised when a job cannot be a refund request; ``problems`` has one sentence a field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Announce(BaseModel):
    """Where to announce acceptance, refusal and finality: a Celery task by name, or a URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Name of the producer's Celery task; it gets the announcement as keyword arguments.
    task: Annotated[str, Field(pattern=r"^[\w.\-]{1,128}$")] | None = None
    #: Queue of that task on the same broker.
    queue: Annotated[str, Field(pattern=r"^[\w.\-]{1,128}$")] | None = None
    #: An ``https`` or ``http`` address that takes the announcement as JSON.
    url: Annotated[str, Field(pattern=r"^https?://[\x21-\x7e]{1,500}$")] | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.task is None) == (self.url is None):
            raise ValueError("give either task (and queue) or url")
        if self.url is not None and self.queue is not None:
            raise ValueError("queue goes with task, not with url")
        return self


class RefundRequest(BaseModel):
    """One refund of one order. Amounts are integer fen; see ``docs/reference.md``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: The service's account that the money goes through.
    account: Number
    #: The merchant's number of the paid order.
    order_no: Number
    #: The merchant's number of this refund; the same number always means the same refund.
    refund_no: Number
    #: What to refund, in fen.
    amount: Fen
    #: The order's total, in fen.
    order_amount: Fen
    #: What the customer actually paid, in fen; the order's total where absent.
    paid_amount: Fen | None = None
    #: What was refunded before this service took over, in fen.
    refunded_before: FenOrZero = 0
    #: ISO 4217; the providers served so far settle in CNY.
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "CNY"
    #: When the order was paid; without an offset it is Asia/Shanghai.
    paid_at: Time | None = None
    #: Why, for people; sent to the provider where it has a field for it.
    reason: Text = ""
    #: Who asked for it.
    operator: Text = ""
    #: The goods, in the provider's own fields.
    items: Annotated[list[JsonValue], DETAIL] = []
    #: The provider's own fields, in wire names and wire units.
    extra: Annotated[dict[str, JsonValue], DETAIL] = {}
    #: What the producer believes is already refunded or under way, in fen; refused if it is not so.
    expected_refunded: FenOrZero | None = None
    #: Where to announce.
    announce: Announce | None = None

    @model_validator(mode="after")
    def _amounts_fit(self) -> Self:
        paid = self.paid_amount if self.paid_amount is not None else self.order_amount
        if paid > self.order_amount:
            raise ValueError(f"paid_amount {paid} is more than order_amount {self.order_amount}")
        if self.refunded_before > paid:
            raise ValueError(f"refunded_before {self.refunded_before} is more than the {paid} paid")
        if self.refunded_before + self.amount > self.order_amount:
            raise ValueError(
                f"amount {self.amount} and refunded_before {self.refunded_before} "
                f"are together more than order_amount {self.order_amount}"
            )
        return self

    @classmethod
    def read(cls, kwargs: object) -> Self:
        """Read a job's keyword arguments.

        Raises:
            InvalidRequest: with a sentence for every field that is wrong.
        """
        if isinstance(kwargs, dict) and len(kwargs) > _MAX_FIELDS:
            raise InvalidRequest([f"the job: has {len(kwargs)} fields; a request has fewer"])
        try:
            return cls.model_validate(kwargs)
        except ValidationError as error:
            raise InvalidRequest([_sentence(problem) for problem in error.errors()]) from None

    def job(self) -> dict[str, Any]:
        """The keyword arguments of ``refunds.request``: plain JSON, stated fields only."""
        return self.model_dump(mode="json", exclude_unset=True)


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])[:_MAX_NAME] or "the job"
    said = problem["msg"].removeprefix("Value error, ")
    value = problem["input"]
    plain = isinstance(value, str | int | float | None)
    # This sentence is kept, logged and announced. A URL may hold a secret, the provider's fields
    # may say who a person is, and what a request has no field for may be anything.
    private = problem["loc"][:1] in (("announce",), ("extra",))
    private = private or problem["type"] == "extra_forbidden"
    shown = f" (got {value!r:.60})" if plain and not private else ""
    return f"{where}: {said}{shown}"
