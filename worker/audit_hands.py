"""What the audit holds people's settlements against: the second person, and the order's sums."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from refundry import State
from worker.ledger.whole import Values, WholeRefund
from worker.refund import FAILED, FINAL, OPEN, REVERSED, SUCCEEDED


class Weight(NamedTuple):
    """What a refund makes of its order's sums, in fen."""

    reserved: int
    refunded: int
    marketing_reserved: int
    marketing_refunded: int
    excess: int


def weight(row: Values) -> Weight:
    """What a refund's row makes; of one that was executed beyond what was left, what counted."""
    marketing = int(row["marketing_amount"])
    paid = int(row["amount"]) - marketing
    aside, marketing_aside = row["contested_reserved"], row["contested_marketing"]
    excess = row["contested_excess"]
    if row["state"] == SUCCEEDED:
        counted = (aside, marketing_aside) if excess else (paid, marketing)
        return Weight(0, counted[0], 0, counted[1], excess)
    reserves = row["state"] in OPEN
    return Weight(reserves * paid + aside, 0, reserves * marketing + marketing_aside, 0, excess)


def settled_by_two(refund: WholeRefund) -> Iterator[tuple[str, str]]:
    """Whatever a person brought about, another one has approved, for just that moment."""
    for before, event in pairwise(refund.events):
        if not _is_by_hand(before, event):
            continue
        if not any(_approves(one, event) for one in refund.approved):
            said = f"event {event['seq']} settles it by hand without a second person's approval"
            yield "I6", said
    large = refund.events and refund.events[0]["detail"].get("needs_approval")
    let_go = [one for one in refund.approved if one["state"] == "submitting" and _by_another(one)]
    if large and refund.attempts and not let_go:
        yield "I6", "is large and was sent without a second person's approval"


def _is_by_hand(before: Values, event: Values) -> bool:
    was, becomes = State(before["state"]), State(event["state"])
    if event["kind"] == "settled" or (was, becomes) == (FAILED, SUCCEEDED):
        return True
    ends = was is not becomes and becomes in FINAL
    return ends and (becomes is REVERSED or "person" in event["detail"])


def _approves(approved: Values, event: Values) -> bool:
    about = (approved["event_seq"] + 1, approved["state"])
    return _by_another(approved) and about == (event["seq"], event["state"])


def _by_another(approved: Values) -> bool:
    names = (approved["approved_by"], approved["proposed_by"])
    return len({name.strip().casefold() for name in names}) == len(names)
