"""How an account's bills are read: ``[accounts.NAME.statement]``."""

from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: A heading's name, or a column's number from 1.
Column = Annotated[str, Field(min_length=1, max_length=200)] | Annotated[int, Field(ge=1, le=1000)]
Texts = frozenset[str]
_DELIMITERS: Final = {"tab": "\t"}


class StatementColumns(BaseModel):
    """Which column has what; all by the heading's names, or all by number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amount: Column
    refund_no: Column | None = None
    provider_refund_no: Column | None = None
    order_no: Column | None = None
    #: The day, or the time, by Shanghai's calendar.
    at: Column | None = None
    #: What became of it; a bill without this column lists what was paid.
    state: Column | None = None
    #: Refund or payment; a bill without this column lists refunds alone.
    kind: Column | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({type(column) for column in self.named.values()}) > 1:
            raise ValueError("name all columns by their heading, or all by their number")
        if len(set(self.named.values())) < len(self.named):
            raise ValueError("two fields have the same column")
        if self.refund_no is None and self.provider_refund_no is None and self.order_no is None:
            raise ValueError("one of refund_no, provider_refund_no, order_no is needed to match by")
        return self

    @property
    def named(self) -> dict[str, str | int]:
        """Each mapped field's column."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: column for name, column in fields.items() if column is not None}


class StatementLayout(BaseModel):
    """How a provider's bill is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: StatementColumns
    #: A mark at the beginning of UTF-8 is skipped.
    encoding: Literal["utf-8", "gbk"] = "utf-8"
    #: One character; ``tab`` is one too.
    delimiter: Annotated[str, Field(pattern=r"^(tab|[\x20-\x7e\t])$")] = ","
    unit: Literal["yuan", "fen"] = "yuan"
    #: ``negative``: the bill lists payments too, and what is below zero is a refund.
    refunds: Literal["all", "negative"] = "all"
    #: What the column ``kind`` says of a refund; lines of any other kind are left out.
    kinds: Texts = frozenset()
    #: What the column ``state`` says of what was paid, was not paid, and of what says nothing yet.
    succeeded: Texts = frozenset()
    failed: Texts = frozenset()
    ignored: Texts = frozenset()
    #: As in Python's ``strptime``.
    time_formats: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d",
        "%Y%m%d%H%M%S",
        "%Y%m%d",
        "%Y/%m/%d %H:%M:%S",
        "%Y/%m/%d",
    )
    #: Lines at the beginning that are not read.
    skip_lines: Annotated[int, Field(ge=0, le=1000)] = 0
    #: A line whose first cell begins so has totals, or is a remark.
    skip_beginnings: tuple[Annotated[str, Field(min_length=1)], ...] = (
        "#",
        "合计",
        "总计",
        "总笔数",
        "总交易",
    )
    #: How many lines the totals take: some bills have a heading of their own for them.
    totals_lines: Annotated[int, Field(ge=1, le=10)] = 1
    #: A bill of which more lines than this differ in the same way, and more than this part of all,
    #: is not compared before a person has looked.
    doubt_lines: Annotated[int, Field(ge=0)] = 100
    doubt_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1
    #: How long after the end of its days a bill may lack what belongs to it.
    complete_after_h: Annotated[float, Field(ge=0, le=24 * 90, allow_inf_nan=False)] = 36.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.columns.kind is None) != (not self.kinds):
            raise ValueError("columns.kind and kinds go together: which values mean a refund")
        if (self.columns.state is None) != (not self.succeeded):
            raise ValueError("columns.state and succeeded go together: which values mean paid")
        known = (*self.succeeded, *self.failed, *self.ignored)
        if len(set(known)) < len(known):
            raise ValueError("a state is listed twice in succeeded, failed, ignored")
        return self

    @property
    def separator(self) -> str:
        """The character between two cells."""
        return _DELIMITERS.get(self.delimiter, self.delimiter)

    @property
    def complete_after(self) -> timedelta:
        return timedelta(hours=self.complete_after_h)
