"""The field types of a refund request: what each may hold, and the message when it does not."""

import json
import re
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

#: The providers' pages bound an amount to ten digits of fen.
MAX_FEN = 9_999_999_999
#: What one job may carry in ``items`` and ``extra`` together, as JSON text.
MAX_DETAIL_BYTES = 65_536
#: Deeper objects than this occur on no provider's page.
MAX_DEPTH = 8

#: No order was paid before, none is after.
_FIRST_YEAR, _LAST_YEAR = 1990, 2200

SHANGHAI = ZoneInfo("Asia/Shanghai")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _no_control_characters(text: str) -> str:
    found = _CONTROL.search(text)
    if found:
        raise ValueError(f"holds the control character U+{ord(found.group()):04X}; remove it")
    return text


def _parse_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not an ISO 8601 time") from None


def _to_time(value: object) -> object:
    """Read ISO 8601; a time without an offset is Asia/Shanghai, as everywhere on the wire."""
    if isinstance(value, str):
        value = _parse_time(value)
    if not isinstance(value, datetime):
        raise ValueError("must be an ISO 8601 time such as 2026-01-31T12:00:00+08:00")
    aware = value if value.tzinfo else value.replace(tzinfo=SHANGHAI)
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise ValueError(f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return aware


def _check_json(value: JsonValue, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, float):
        raise ValueError("holds a float; write numbers as integers or strings")
    if isinstance(value, str):
        _no_control_characters(value)
    if isinstance(value, dict):
        for key in value:
            _no_control_characters(key)
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            _check_json(member, depth + 1)


def _check_detail(value: JsonValue) -> JsonValue:
    _check_json(value, 1)
    size = len(json.dumps(value, ensure_ascii=False).encode())
    if size > MAX_DETAIL_BYTES:
        raise ValueError(f"is {size} bytes of JSON; {MAX_DETAIL_BYTES} are the most")
    return value


#: A positive amount of money in fen.
Fen = Annotated[int, Field(strict=True, gt=0, le=MAX_FEN)]
#: An amount of money in fen that may be zero.
FenOrZero = Annotated[int, Field(strict=True, ge=0, le=MAX_FEN)]
#: A number that names an order, a refund or an account: visible ASCII.
Number = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,64}$")]
#: Text for people.
Text = Annotated[str, Field(max_length=256), AfterValidator(_no_control_characters)]
#: ISO 8601.
Time = Annotated[datetime, BeforeValidator(_to_time)]
#: Marks a JSON value made of providers' fields: no floats, bounded in size and depth.
DETAIL = AfterValidator(_check_detail)
