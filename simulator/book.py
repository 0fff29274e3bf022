"""The book: what the providers know. It is rebuilt from an append-only journal at every start."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from simulator.dial import Dial
from simulator.lines import Json, LineFile, read_lines
from simulator.plans import Plan, read_plan


@dataclass(frozen=True, kw_only=True)
class Record:
    """One refund number that a provider knows. Amounts are fen."""

    provider: str
    order: str
    refund: str
    amount: int
    #: ``succeeded``, ``failed`` or ``pending``.
    state: str
    #: The text of the fate, e.g. ``pending:2``.
    fate: str
    #: The provider's own number of the refund.
    provider_refund_no: str
    #: How many times money moved.
    executions: int = 0
    #: Queries since the refund was accepted.
    asked: int = 0
    #: Why it was refused; empty unless it was.
    reason: str = ""
    #: Further names a query may use, the provider's own number among them.
    aliases: tuple[str, ...] = ()
    #: Whose refund it is, and where it asked to be notified; empty where it did not.
    merchant: str = ""
    notify_url: str = ""
    #: Unix second at which it settles by itself; None: only queries settle it.
    settles_at: float | None = None
    #: Unix second at which it was executed, the last time, or declined.
    settled_at: float | None = None
    #: Fields of the request that answers repeat, as the provider module wrote them.
    memo: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One notification that a provider has to send, with the fault it was drawn."""

    provider: str
    refund: str
    #: Which of the refund's, from 1.
    number: int
    #: The state that it is about: ``succeeded`` or ``failed``.
    state: str
    fault: str
    #: Unix second from which it is sent.
    at: float
    #: Acknowledged, or given up.
    over: bool = False


@dataclass(frozen=True)
class Turn:
    """One draw of a kind for a refund number: its count from 1, and the planned text if any."""

    number: int
    planned: str | None


class Book:
    """Every change is a journal line first, and is then applied the way a restart applies it."""

    def __init__(self, path: Path) -> None:
        self._journal = LineFile(path)
        self._records: dict[tuple[str, str], Record] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._by_order: defaultdict[tuple[str, str], dict[str, Record]] = defaultdict(dict)
        self._paid: dict[tuple[str, str], int] = {}
        self._plans: dict[tuple[str, str], Plan] = {}
        self._turns: Counter[tuple[str, str, str]] = Counter()
        self._dials: dict[str, Dial] = {}
        self._differing: dict[tuple[str, str], Json] = {}
        self._notices: dict[tuple[str, str], dict[int, Notice]] = defaultdict(dict)
        for entry in read_lines(path):
            self._apply(entry)

    # What is known

    def find(self, provider: str, refund: str) -> Record | None:
        return self._records.get((provider, refund))

    def refund_named(self, provider: str, alias: str) -> str:
        """The refund number behind one of the provider's own names, else the name itself."""
        return self._aliases.get((provider, alias), alias)

    def on_order(self, provider: str, order: str) -> list[Record]:
        return list(self._by_order[provider, order].values())

    def moved(self, provider: str, order: str) -> int:
        """Fen refunded on the order so far."""
        return sum(r.amount for r in self.on_order(provider, order) if r.state == "succeeded")

    def pending(self, provider: str, order: str) -> int:
        """Fen that the order's pending refunds will take."""
        return sum(r.amount for r in self.on_order(provider, order) if r.state == "pending")

    def paid(self, provider: str, order: str) -> int | None:
        """Fen paid on the order; None for an order never heard of."""
        return self._paid.get((provider, order))

    def dial(self, provider: str) -> Dial:
        return self._dials.get(provider, Dial())

    def settle_s(self, provider: str, refund: str) -> float | None:
        """Seconds after which the refund settles by itself, as planned or by the dial."""
        plan = self._plans.get((provider, refund))
        planned = plan.settle_s if plan else None
        return self.dial(provider).settle_s if planned is None else planned

    def records(self) -> list[Record]:
        return list(self._records.values())

    def differing(self, provider: str) -> dict[str, Json]:
        """What differs in the provider's statement, by the refund number."""
        found = self._differing.items()
        return {refund: how for (name, refund), how in found if name == provider}

    def last_notice(self, record: Record) -> Notice | None:
        """The notification of the refund that was drawn last."""
        notices = self._notices.get((record.provider, record.refund), {})
        return notices[max(notices)] if notices else None

    def open_notices(self) -> list[Notice]:
        """The notifications that are still to be sent."""
        found = (notice for own in self._notices.values() for notice in own.values())
        return [notice for notice in found if not notice.over]

    def listing(self) -> Iterator[Json]:
        """One object a refund number, as ``GET /_sim/book`` shows it."""
        for (provider, refund), record in self._records.items():
            yield {
                "provider": provider,
                "order": record.order,
                "refund": refund,
                "amount": record.amount,
                "state": record.state,
                "provider_refund_no": record.provider_refund_no,
                "executions": record.executions,
                "submits": self._turns["submit", provider, refund],
                "queries": self._turns["query", provider, refund],
            }

    # What changes

    def keep(self, record: Record) -> None:
        self._write({"do": "record", **asdict(record)})

    def keep_notice(self, notice: Notice) -> None:
        self._write({"do": "notice", **asdict(notice)})

    def set_paid(self, provider: str, order: str, paid: int) -> None:
        self._write({"do": "order", "provider": provider, "order": order, "paid": paid})

    def set_plan(self, provider: str, refund: str, plan: Plan) -> None:
        self._write({"do": "plan", "provider": provider, "refund": refund, **asdict(plan)})

    def set_dial(self, provider: str, dial: Dial) -> None:
        self._write({"do": "dial", "provider": provider, "dial": dial.as_json()})

    def set_differing(self, provider: str, refund: str, how: Json) -> None:
        self._write({"do": "differ", "provider": provider, "refund": refund, "how": how})

    def take_turn(self, kind: str, provider: str, refund: str) -> Turn:
        """Counts a ``submit``, ``query``, ``notify`` or ``fate``, and uses up its plan."""
        entry = {"do": "turn", "kind": kind, "provider": provider, "refund": refund}
        self._journal.append(entry)
        return self._apply_turn(entry)

    def _write(self, entry: Json) -> None:
        self._journal.append(entry)
        self._apply(entry)

    def _apply(self, entry: Json) -> None:
        match entry["do"]:
            case "record":
                self._apply_record(entry)
            case "notice":
                notice = Notice(**{name: entry[name] for name in entry if name != "do"})
                self._notices[notice.provider, notice.refund][notice.number] = notice
            case "order":
                self._paid[entry["provider"], entry["order"]] = entry["paid"]
            case "plan":
                self._plans[entry["provider"], entry["refund"]] = read_plan(entry)
            case "dial":
                self._dials[entry["provider"]] = Dial().merged(entry["dial"])
            case "differ":
                self._differing[entry["provider"], entry["refund"]] = entry["how"]
            case "turn":
                self._apply_turn(entry)

    def _apply_record(self, entry: Json) -> None:
        fields = {name: value for name, value in entry.items() if name != "do"}
        record = Record(**{**fields, "aliases": tuple(fields["aliases"])})
        before = self._records.get((record.provider, record.refund))
        if before is not None:
            del self._by_order[record.provider, before.order][record.refund]
        self._records[record.provider, record.refund] = record
        self._by_order[record.provider, record.order][record.refund] = record
        for alias in record.aliases:
            self._aliases[record.provider, alias] = record.refund

    def _apply_turn(self, entry: Json) -> Turn:
        key = (entry["kind"], entry["provider"], entry["refund"])
        self._turns[key] += 1
        plan = self._plans.get((entry["provider"], entry["refund"]))
        return Turn(self._turns[key], plan.take(entry["kind"]) if plan else None)
