"""What one refund may cost in statements, commits, round trips and messages, on real servers."""

import pytest

from bench.allowed import ALLOWED, SCENARIOS
from bench.goals.counted import REFUNDS, count
from bench.site import Site

#: The table has hundredths.
ROUNDED = 0.01
#: Ticks come as often as time passes, not as refunds do.
TICKS = "tick "


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_refund_makes_no_more_work_than_is_allowed_for_a_reason(name: str, site: Site) -> None:
    counts = count(site, SCENARIOS[name])
    each = {kind: times / REFUNDS for kind, times in counts.items() if not kind.startswith(TICKS)}
    allowed = {kind: getattr(one, name) for kind, one in ALLOWED.items()}
    assert {kind: times for kind, times in each.items() if times > allowed.get(kind, 0)} == {}
    assert site.sums()["finished"] == REFUNDS + SCENARIOS[name].per_order
    loose = {kind: most for kind, most in allowed.items() if most - each.get(kind, 0) > ROUNDED}
    assert loose == {}, "less work is done than the table allows: lower it"


def test_every_kind_of_work_has_a_reason() -> None:
    assert [kind for kind, one in ALLOWED.items() if not one.why] == []
