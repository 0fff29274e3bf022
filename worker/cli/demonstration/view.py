"""What the demonstration shows: live progress, then the final table."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from worker.cli.demonstration.batch import DemoRefund
from worker.cli.demonstration.verdict import Seen
from worker.cli.output import console, print_line, print_table, yuan

_COLUMNS = ("account", "order", "refund", "yuan", "state", "book", "attempts", "went through")


@contextmanager
def progress(batch: Sequence[DemoRefund]) -> Iterator[Callable[[Seen], None]]:
    """A function that shows where the batch stands; plain lines where there is no terminal."""
    if not console.is_terminal:
        yield _plain(batch)
        return
    bar = Progress(
        TextColumn("final"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.description}"), console=console,
    )  # fmt: skip
    task = bar.add_task("", total=len(batch))
    with bar:
        yield lambda seen: bar.update(
            task, completed=seen.final(batch), description=_states(batch, seen)
        )


def _plain(batch: Sequence[DemoRefund]) -> Callable[[Seen], None]:
    shown = ""

    def show(seen: Seen) -> None:
        nonlocal shown
        line = f"final {seen.final(batch)}/{len(batch)}: {_states(batch, seen)}"
        if line != shown:
            shown = line
            print_line(line)

    return show


def _states(batch: Sequence[DemoRefund], seen: Seen) -> str:
    counts = Counter(_state(refund, seen) for refund in batch)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _state(refund: DemoRefund, seen: Seen) -> str:
    if refund.refund_no in seen.refused:
        return "refused"
    row = seen.ledger.get(refund.refund_no)
    return str(row.state) if row else "on its way"


def show_table(
    batch: Sequence[DemoRefund], seen: Seen, went_through: Mapping[str, Sequence[str]]
) -> None:
    """One row a refund, in the order in which they were asked for."""
    rows = (_row(refund, seen, went_through.get(refund.refund_no, ())) for refund in batch)
    print_table("Refunds", _COLUMNS, rows)


def _row(refund: DemoRefund, seen: Seen, states: Sequence[str]) -> Sequence[Any]:
    row = seen.ledger.get(refund.refund_no)
    entry = seen.book.get(refund.refund_no)
    path = " → ".join(states) or seen.refused.get(refund.refund_no, "")
    return (
        refund.account,
        refund.order_no,
        refund.refund_no,
        yuan(refund.amount),
        _state(refund, seen),
        entry["state"] if entry else "-",
        row.attempts if row else 0,
        f"{path} ({refund.trouble.words})" if refund.trouble.words else path,
    )
