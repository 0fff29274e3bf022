"""Amounts as bills write them, to integer fen by Decimal."""

import re
from decimal import Decimal
from typing import Final

#: Grouped by commas or not; a currency's sign in front; a minus or a plus before or after that.
_AMOUNT: Final = re.compile(
    r"([+-]?)[¥￥]?([+-]?)((?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{1,6})?)", re.ASCII
)
#: No bill has more, and every database column holds it.
_MOST_FEN: Final = 10**15


def fen_of(text: str, unit: str) -> int:
    """The amount in fen, with its sign.

    Args:
        text: of the cell, trimmed.
        unit: ``yuan`` or ``fen``.

    Raises:
        ValueError: it is no amount, or has a part of a fen.
    """
    found = _AMOUNT.fullmatch(text)
    if found is None or (found[1] and found[2]):
        raise ValueError(f"{text!r} is no amount")
    fen = Decimal(found[3].replace(",", "")) * (100 if unit == "yuan" else 1)
    if fen != int(fen):
        raise ValueError(f"{text!r} in {unit} has a part of a fen; is unit right?")
    if fen > _MOST_FEN:
        raise ValueError(f"{text!r} is more than any bill has")
    return -int(fen) if "-" in (found[1], found[2]) else int(fen)
