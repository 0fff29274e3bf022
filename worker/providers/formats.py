"""The wire's formats: JSON whose numbers keep their text, and yuan as decimals."""

import json
import re
from decimal import Decimal
from typing import Any, Final

from worker.errors import NoAnswer

_PLAIN_DECIMAL: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?")
_MAX_DEPTH: Final = 16
_PLAIN_INTEGER: Final = re.compile(r"[0-9]{1,12}")


class NumberText(str):
    """A JSON number as it was written: ``1.00`` stays ``1.00``, in amounts and in signatures."""

    __slots__ = ()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice")
    return value


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def read_object(body: bytes) -> dict[str, Any]:
    """Read one JSON object; every number in it is a :class:`NumberText`.

    Raises:
        NoAnswer: it is anything else, cut, not UTF-8, nested too deep, or names something twice.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_int=NumberText,
            parse_float=NumberText,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
        )
    except (ValueError, RecursionError):
        raise NoAnswer("the answer is not a JSON object") from None
    if not isinstance(value, dict):
        raise NoAnswer("the answer is not a JSON object")
    _check_depth(value)
    _check_text(body, value)
    return value


def _check_depth(value: dict[str, Any]) -> None:
    """No provider's page nests deeper than a few levels."""
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return
    raise NoAnswer(f"the answer is nested deeper than {_MAX_DEPTH} levels")


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _check_text(body: bytes, value: dict[str, Any]) -> None:
    """Half a surrogate pair, which only an escape can smuggle in, is no text."""
    if b"\\u" not in body:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NoAnswer("the answer holds half a surrogate pair") from None


def no_negative_amounts(values: dict[str, Any], *, except_for: str = "") -> None:
    """Check every ``…_amount`` or ``…Amt`` of an answer (providers.md, "Rules for all four").

    Raises:
        NoAnswer: one of them is negative.
    """
    if name := negative_amount(values, except_for=except_for):
        raise NoAnswer(f"{name} is negative")


def negative_amount(values: dict[str, Any], *, except_for: str = "") -> str:
    """The name of an amount that is negative; empty where none is."""
    amounts = (name for name in values if name.endswith(("_amount", "Amt")) and name != except_for)
    return next((name for name in amounts if text_of(values, name)[:1] == "-"), "")


def text_of(values: dict[str, Any], name: str) -> str:
    """A text or number as text; empty where it is absent or something else."""
    value = values.get(name)
    return value if isinstance(value, str) else ""


def one_line(text: str) -> str:
    """The text without what ends a line, or cannot be stored."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", text)


def said(text: str) -> str:
    """What a provider said, for people: bounded, on one line."""
    return one_line(text)[:200]


def dump_object(fields: dict[str, Any]) -> bytes:
    """JSON as it is sent: UTF-8, no spaces."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def yuan(fen: int) -> str:
    """Fen as yuan with two places."""
    return str(Decimal(fen).scaleb(-2).quantize(Decimal("0.01")))


def fen_of_yuan(text: str, *, sign_ignored: bool = False) -> int | None:
    """Yuan in any plain decimal that is exact in fen; None where it is not one.

    A negative amount is none, unless the page is known to write one (``sign_ignored``).
    """
    if not _PLAIN_DECIMAL.fullmatch(text):
        return None
    fen = Decimal(text).scaleb(2)
    if fen != fen.to_integral_value() or (fen < 0 and not sign_ignored):
        return None
    return abs(int(fen))


def fen_of(text: str) -> int | None:
    """Fen in plain digits; None where it is not."""
    return int(text) if _PLAIN_INTEGER.fullmatch(text) else None
