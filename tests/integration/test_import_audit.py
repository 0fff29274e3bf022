"""The audit of imports: their sums, their rows and the rows' refunds are held beside each other."""

from pathlib import Path

import pytest

from tests.integration.builders import Shop
from worker.audit_imports import audit_import
from worker.importing.files import copied
from worker.importing.words import ImportState, Terms
from worker.ledger.import_audit import tallies
from worker.steps import import_commands, import_files
from worker.steps.imports import take_next

HEAD = "account,order_no,refund_no,amount,order_amount\n"
#: Each is refused, for more is asked for than the order has.
TOO_MUCH = "shop,O9,R9,200,100\n"
SPENT = 60


@pytest.fixture
def import_id(shop: Shop, tmp_path: Path) -> int:
    """An import of six refunds and a refused row; half of it is taken in."""
    path = tmp_path / "refunds.csv"
    path.write_text(HEAD + "".join(f"shop,O{row},R{row},10,100\n" for row in range(6)) + TOO_MUCH)
    with copied(path) as copy:
        terms = Terms(budget=1000)
        one = import_files.load(shop.runtime, shop.runtime.ledger, copy, terms, lambda _: None)
    take_next(shop.runtime, one.id, limit=3)
    return one.id


def finish(shop: Shop, import_id: int) -> None:
    while take_next(shop.runtime, import_id).state is ImportState.RUNNING:
        pass


def findings(shop: Shop) -> list[str]:
    with shop.runtime.ledger.read() as connection:
        found = [one for tally in tallies(connection) for one in audit_import(tally)]
    return [f"{one.promise} {one.row}: {one.said}" for one in found]


def test_nothing_is_wrong_with_an_import_at_any_time(shop: Shop, import_id: int) -> None:
    assert findings(shop) == []
    import_commands.pause(shop.runtime.ledger, import_id, "")
    assert findings(shop) == []
    import_commands.resume(shop.runtime.ledger, import_id)
    finish(shop, import_id)
    assert findings(shop) == []


def test_nothing_is_wrong_with_one_that_was_canceled_or_repeated(
    shop: Shop, import_id: int, tmp_path: Path
) -> None:
    import_commands.cancel(shop.runtime.ledger, import_id)
    path = tmp_path / "again.csv"
    path.write_text((tmp_path / "refunds.csv").read_text() + "\n")
    with copied(path) as copy:
        one = import_files.load(shop.runtime, shop.runtime.ledger, copy, Terms(), lambda _: None)
    finish(shop, one.id)
    assert findings(shop) == []


@pytest.mark.parametrize(
    ("tampered", "said"),
    [
        (
            "UPDATE imports SET spent = 59",
            f"I7 import 1: spent is 59 but its accepted rows make {SPENT}",
        ),
        (
            "UPDATE import_rows SET verdict = 'refused', refund_id = NULL WHERE row_no = 2",
            f"I7 import 1: spent is {SPENT} but its accepted rows make 50",
        ),
        ("UPDATE imports SET row_count = 8", "I5 import 1: has 7 rows and counts 8"),
        (
            "UPDATE import_rows SET refund_id = NULL WHERE row_no = 3",
            "I5 import 1: row 3 was accepted and has no refund R1",
        ),
        (
            "UPDATE import_rows SET refund_id = (SELECT refund_id FROM import_rows "
            "WHERE row_no = 2) WHERE row_no = 3",
            "I5 import 1: its 6 accepted rows are 5 refunds",
        ),
        (
            "UPDATE import_rows SET refund_no = 'R7' WHERE row_no = 2",
            "I10 import 1: row 2 asks for 10 fen as R7, and its refund is 10 fen as R0",
        ),
        (
            "UPDATE import_rows SET amount = 11 WHERE row_no = 2",
            "I10 import 1: row 2 asks for 11 fen as R0, and its refund is 10 fen as R0",
        ),
        (
            "UPDATE import_rows SET verdict = 'waiting', refund_id = NULL WHERE row_no = 2",
            "I9 import 1: is done and 1 of its rows wait",
        ),
    ],
)
def test_what_was_tampered_with_is_named(
    tampered: str, said: str, shop: Shop, import_id: int
) -> None:
    finish(shop, import_id)
    shop.execute(tampered)
    assert said in findings(shop)


def test_of_a_file_that_was_tampered_with_as_a_whole_not_every_row_is_named(
    shop: Shop, import_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.import_audit.NAMED", 2)
    finish(shop, import_id)
    shop.execute("UPDATE import_rows SET refund_id = NULL")
    assert len([one for one in findings(shop) if "has no refund" in one]) == 2
