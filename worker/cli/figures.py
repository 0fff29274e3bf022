"""``refundry figures``: what we and the provider say of one order."""

import dataclasses
from typing import Any

from config.settings import load_settings
from worker.cli.output import EXIT_REFUSED, print_json, print_table
from worker.cli.refunds import AccountName, Json
from worker.runtime import build_runtime
from worker.steps.figures import Compared, compare_figures


def figures(order_no: str, account: AccountName, as_json: Json = False) -> None:
    """Show an order's figures, ours beside the provider's; exit code 1 if they differ."""
    compared = compare_figures(build_runtime(load_settings()), account, order_no)
    shown = _shown(order_no, compared)
    if as_json:
        print_json(shown)
    else:
        _print(shown)
    if not compared.agree:
        raise SystemExit(EXIT_REFUSED)


def _shown(order_no: str, compared: Compared) -> dict[str, Any]:
    return {
        "order_no": order_no,
        "agree": compared.agree,
        "ours": dataclasses.asdict(compared.ours),
        "theirs": dataclasses.asdict(compared.theirs),
        "under_way": compared.under_way,
        "at": compared.at,
    }


def _print(shown: dict[str, Any]) -> None:
    ours, theirs = shown["ours"], shown["theirs"]
    rows = [(name, ours[name], theirs[name]) for name in ours]
    agree = "agree" if shown["agree"] else "differ"
    title = f"Order {shown['order_no']}: the figures {agree} (amounts in fen)"
    print_table(title, ("", "ours", "theirs"), rows)
    print_table("", ("", ""), [(name, shown[name]) for name in ("under_way", "at")])
