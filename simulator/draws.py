"""Chance without a generator: every draw is a pure function of what it is drawn for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def chance(*parts: str | int) -> float:
    """A number in [0, 1) that depends on the parts alone, never on the order of calls."""
    return _digest(parts) / 2**256


def digits(length: int, *parts: str | int) -> str:
    """A decimal text of that length that depends on the parts alone."""
    return str(_digest(parts) % 10**length).zfill(length)


def pick(weights: Mapping[str, float], rest: str, draw: float) -> str:
    """The name whose share of [0, 1) holds the draw; ``rest`` has what the others leave."""
    for name in sorted(weights):
        if draw < weights[name]:
            return name
        draw -= weights[name]
    return rest


def _digest(parts: tuple[str | int, ...]) -> int:
    text = "|".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
