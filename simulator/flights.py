"""Which submits are being handled right now, by order."""

from __future__ import annotations

from collections import Counter, defaultdict


class Flights:
    """The submits in the air."""

    def __init__(self) -> None:
        self._aloft: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def on_order(self, provider: str, order: str) -> set[str]:
        """The refund numbers of the order whose submit is being handled."""
        return set(self._aloft[provider, order])

    def take_off(self, provider: str, order: str, refund: str) -> Flight:
        aloft = self._aloft[provider, order]
        aloft[refund] += 1
        return Flight(aloft, refund)


class Flight:
    """One submit in the air until its ``with`` ends or it is landed before, whichever is first."""

    def __init__(self, aloft: Counter[str], refund: str) -> None:
        self._aloft, self._refund = aloft, refund
        self._landed = False

    def land(self) -> None:
        if not self._landed:
            self._landed = True
            self._aloft[self._refund] -= 1
            self._aloft += Counter()  # drops what has come down to zero

    def __enter__(self) -> Flight:
        return self

    def __exit__(self, *_: object) -> None:
        self.land()
