"""Files of refunds: what is read from CSV and XLSX, to the fen, and what is written about them."""

import csv
import hashlib
import io
import random
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from worker.errors import Refused, WrongFile
from worker.importing import results
from worker.importing.columns import header_of, job_of
from worker.importing.files import copied, rows_of
from worker.importing.results import write_results
from worker.importing.words import Terms, Unit

HEADER = ("account", "order_no", "refund_no", "amount", "order_amount")
FEN, YUAN = Terms(), Terms(unit=Unit.YUAN)
#: What is asked for most, and what binary numbers miss.
AMOUNTS = {
    "0.29": 29,
    "19.99": 1999,
    "1234567.89": 123456789,
    "0.1": 10,
    "5": 500,
    "99999999.99": 9999999999,
}


def csv_file(folder: Path, *rows: Sequence[object]) -> Path:
    path = folder / "refunds.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def workbook(folder: Path, *rows: tuple[Any, ...], more: Callable[[Any], object] = id) -> Path:
    """An XLSX file with one sheet; ``more`` is done to the workbook before it is saved."""
    book, path = Workbook(), folder / "refunds.xlsx"
    assert book.active is not None
    for row in rows:
        book.active.append(row)
    more(book)
    book.save(path)
    return path


def read(path: Path, terms: Terms = FEN) -> list[tuple[int, Any]]:
    """The row numbers, each with its job, or with what is wrong with it."""
    with copied(path) as copy:
        (_, header), *rows = rows_of(copy)
        names = header_of(header, terms)
        return [(number, job_or_refusal(names, cells, terms)) for number, cells in rows]


def job_or_refusal(names: Sequence[str], cells: Any, terms: Terms) -> Any:
    try:
        return job_of(names, cells, terms)
    except Refused as refusal:
        return str(refusal)


def amounts(path: Path, terms: Terms) -> list[Any]:
    return [row["amount"] if isinstance(row, dict) else row for _, row in read(path, terms)]


def test_a_csv_row_becomes_a_job_as_a_producer_would_state_it(tmp_path: Path) -> None:
    header = (*HEADER, "reason", "expected_refunded")
    path = csv_file(tmp_path, header, ("shop", "O1", "R1", " 40 ", "100", "退货", ""))
    job = {"account": "shop", "order_no": "O1", "refund_no": "R1", "amount": 40}
    assert read(path) == [(2, job | {"order_amount": 100, "reason": "退货"})]


def test_rows_are_called_by_the_line_they_begin_in_and_blank_ones_are_none(tmp_path: Path) -> None:
    rows = [("a", "O", "R1", "1", "2"), (), ("", " ", "", "", ""), ("a", "O\nO", "R2", "1", "2")]
    path = csv_file(tmp_path, HEADER, *rows, ("a", "O", "R3", "1", "2"))
    assert [number for number, _ in read(path)] == [2, 5, 7]


def test_an_account_is_stated_once_for_all_rows_or_by_each(tmp_path: Path) -> None:
    rows = [("", "O1", "R1", "1", "2"), ("till", "O2", "R2", "1", "2")]
    path = csv_file(tmp_path, HEADER, *rows)
    assert [row["account"] for _, row in read(path, Terms(account="shop"))] == ["shop", "till"]
    assert "account" not in read(path)[0][1]


@pytest.mark.parametrize("text", AMOUNTS)
def test_yuan_are_read_to_the_fen_from_text_and_from_a_spreadsheets_numbers(
    text: str, tmp_path: Path
) -> None:
    number = int(text) if text.isdigit() else float(text)
    row = ("a", "O1", "R1", text, "100000000")
    assert amounts(csv_file(tmp_path, HEADER, row), YUAN) == [AMOUNTS[text]]
    rows = [("a", "O1", "R1", value, 100000000) for value in (text, number)]
    assert amounts(workbook(tmp_path, HEADER, *rows), YUAN) == [AMOUNTS[text]] * 2


def test_every_amount_of_a_spreadsheet_is_read_to_the_fen(tmp_path: Path) -> None:
    draws = random.Random(7)
    wanted = [draws.randrange(1, 10 ** draws.randrange(1, 11)) for _ in range(3000)]
    rows = [("a", "O1", "R1", fen / 100, 1) for fen in wanted]
    assert amounts(workbook(tmp_path, HEADER, *rows), YUAN) == wanted


def test_a_number_is_read_as_it_shows_though_it_is_stored_with_its_noise(tmp_path: Path) -> None:
    """Spreadsheets write seventeen digits of 0.29 and of 1234567.89."""
    path = workbook(tmp_path, HEADER, ("a", "O1", "R1", 11, 22))
    noisy = {"<v>11</v>": "<v>0.28999999999999998</v>", "<v>22</v>": "<v>1234567.8899999999</v>"}
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name).decode() for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, part in parts.items():
            for plain, noise in noisy.items():
                part = part.replace(plain, noise)
            packed.writestr(name, part)
    ((_, row),) = read(path, YUAN)
    assert (row["amount"], row["order_amount"]) == (29, 123456789)


def test_what_a_spreadsheet_has_calculated_counts_as_it_shows_it(tmp_path: Path) -> None:
    assert (0.1 + 0.2, 19.99 * 3) != (0.3, 59.97)
    rows = [("a", "O1", "R1", value, 1) for value in (0.1 + 0.2, 19.99 * 3)]
    assert amounts(workbook(tmp_path, HEADER, *rows), YUAN) == [30, 5997]


@given(st.decimals(min_value=0, max_value=10**8, places=2))
def test_an_amount_in_yuan_is_a_hundred_times_as_many_fen(amount: Decimal) -> None:
    job = job_of(["amount"], [str(amount)], YUAN)
    assert job["amount"] == amount * 100
    assert type(job["amount"]) is int


WRONG_FEN = ["1.5", "1e3", "１２", "12_000", "1,200", "¥12", "=1+1", "0x10", "--1", "9" * 30, "NaN"]


@pytest.mark.parametrize("text", WRONG_FEN)
def test_what_is_no_whole_number_of_fen_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(Refused, match="amount: an amount in fen is a whole number"):
        job_of(["amount"], [text], FEN)


@pytest.mark.parametrize("text", ["1.234", "1,234.00", ".5", "5.", "1e2", "¥5", "Infinity", "٥"])
def test_yuan_with_more_than_two_places_or_with_signs_are_refused(text: str) -> None:
    with pytest.raises(Refused, match="at most two places"):
        job_of(["amount"], [text], YUAN)


def test_numbers_and_times_of_a_spreadsheet_are_read_as_they_are_shown(tmp_path: Path) -> None:
    header = (*HEADER, "paid_at")
    at = datetime.fromisoformat("2026-01-31T12:30:00")
    path = workbook(tmp_path, header, ("a", 1000234, "00123", 40, 100, at))
    ((_, row),) = read(path)
    assert (row["order_no"], row["refund_no"], row["amount"]) == ("1000234", "00123", 40)
    assert row["paid_at"] == "2026-01-31T12:30:00"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("=1+1", "amount: holds a formula; paste its value"),
        (True, "amount: holds a bool"),
        ("#N/A", "amount: holds the error"),
        (12345678901234567890, "amount: is a number of more than 15 digits"),
        (1.5, "amount: an amount in fen is a whole number"),
        (datetime.fromisoformat("2026-01-01"), "amount: an amount in fen"),
    ],
)
def test_a_cell_that_is_no_amount_is_its_rows_affair(cell: Any, said: str, tmp_path: Path) -> None:
    path = workbook(tmp_path, HEADER, ("a", "O1", "R1", cell, 100), ("a", "O1", "R2", 1, 100))
    (_, refused), (_, good) = read(path)
    assert refused.startswith(said)
    assert good["amount"] == 1


def test_a_number_that_a_spreadsheet_has_rounded_is_no_refund_number(tmp_path: Path) -> None:
    ((_, said),) = read(workbook(tmp_path, HEADER, ("a", "O1", 2026013100000000001, 1, 100)))
    assert said.startswith("refund_no: is a number of more than 15 digits")


def test_blank_and_merged_cells_state_nothing_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    rows = [("a", "O1", "R1", 1, 2), (), (None, " "), ("a", "O1", "R2", 1, 2), ("a", "O1", "R3", 1)]
    path = workbook(tmp_path, HEADER, *rows, more=lambda book: book.active.merge_cells("B5:B6"))
    numbers, jobs = zip(*read(path), strict=True)
    assert numbers == (2, 5, 6)
    assert "order_no" not in jobs[2]
    assert "order_amount" not in jobs[2]


def test_a_second_sheet_is_never_passed_over_silently(tmp_path: Path) -> None:
    path = workbook(tmp_path, HEADER, more=lambda book: book.create_sheet("more"))
    assert read(path) == []
    path = workbook(tmp_path, HEADER, more=lambda book: book.create_sheet("more").append(["x"]))
    with pytest.raises(WrongFile, match="sheet 'more' is not empty"):
        read(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (("order_no", "refund_no", "amount"), "missing: account, order_amount .or say --account"),
        ((*HEADER, "phone"), "mean nothing here: 'phone'"),
        ((*HEADER, "recipientName"), "mean nothing here"),
        ((*HEADER, "extra"), "mean nothing here"),
        ((*HEADER, "amount"), "there twice: amount"),
        (("a", "O1", "R1", "1", "2"), "mean nothing here"),
        (("account;order_no;refund_no;amount;order_amount",), "mean nothing here"),
        (("", *HEADER), "mean nothing here: ''"),
    ],
)
def test_a_file_with_other_columns_is_refused_whole(
    header: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(WrongFile, match=said):
        read(csv_file(tmp_path, header, ("a", "O1", "R1", "1", "2")))


def test_columns_at_the_end_that_have_no_name_must_be_empty(tmp_path: Path) -> None:
    rows = [("a", "O1", "R1", "1", "2", ""), ("a", "O1", "R2", "1", "2", "x")]
    (_, good), (_, refused) = read(csv_file(tmp_path, (*HEADER, "", ""), *rows))
    assert good["refund_no"] == "R1"
    assert refused == "the row has more cells than the file has columns"


ROWS = ",".join(HEADER).encode() + b"\na,O1,R1,1,2\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ROWS + "a,O1,退,1,2\n".encode("gbk"), "line 3 is not UTF-8; save"),
        (ROWS.decode().encode("utf-16"), "line 1 is not UTF-8"),
        (ROWS + b'a,"O1,R2,1,2\n', "line 3 is no CSV"),
        (ROWS + b'a,"O1"x,R2,1,2\n', "line 3 is no CSV"),
        (ROWS + b"a," + b"x" * 70_000 + b",R2,1,2\n", "line 3 has 65536 bytes and more"),
        (ROWS + b'a,"' + b"x\n" * 70_000 + b'",R2,1,2\n', "line 3 is no CSV: field larger"),
        (ROWS.replace(b"\n", b"\r"), "line 1 is no CSV"),
        (b"PK\x03\x04 and nothing else", "cannot be read as XLSX: BadZipFile"),
        (b"\x89PNG\r\n\x1a\n", "line 1 is not UTF-8"),
    ],
)
def test_a_damaged_file_is_refused_with_the_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "refunds"
    path.write_bytes(content)
    with pytest.raises(WrongFile, match=said):
        read(path)


def test_a_mark_at_the_beginning_and_both_ends_of_a_line_are_read(tmp_path: Path) -> None:
    path = tmp_path / "refunds.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ROWS.replace(b"\n", b"\r\n"))
    assert [number for number, _ in read(path)] == [2]


def test_a_packed_file_without_a_workbook_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "refunds.xlsx"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("readme.txt", "nothing")
    with pytest.raises(WrongFile, match="cannot be read as XLSX"):
        read(path)


def test_a_packed_file_that_unpacks_without_end_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "refunds.xlsx"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("xl/sharedStrings.xml", "w", force_zip64=True) as texts,
    ):
        for _ in range(300):
            texts.write(bytes(1 << 20))
    with pytest.raises(WrongFile, match="unpacks to more than is read"):
        read(path)


def test_a_file_that_is_not_there_is_a_wrong_file(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match=r"cannot read .*nowhere"):
        read(tmp_path / "nowhere.csv")


def test_what_is_digested_is_what_is_read_though_the_file_changes_meanwhile(
    tmp_path: Path,
) -> None:
    path = tmp_path / "refunds.csv"
    path.write_bytes(ROWS)
    with copied(path) as copy:
        path.write_bytes(b"other")
        assert len(list(rows_of(copy))) == 2
    assert copy.digest == hashlib.sha256(ROWS).hexdigest()


def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "refunds.csv"
    with path.open("w") as file:
        file.write(",".join(HEADER) + "\n")
        file.writelines(f"shop,O{row},R{row},1,2\n" for row in range(50_000))
    with copied(path) as copy:
        tracemalloc.start()
        count = sum(1 for _ in rows_of(copy))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 50_001
    assert most < 1_000_000


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
def test_no_cell_of_a_result_is_a_formula(begins: str, tmp_path: Path) -> None:
    formula = f"{begins}cmd|'/C calc'!A1"
    write_results(tmp_path / "out.csv", [(2, formula, "refused", None, "invalid", formula)])
    text = (tmp_path / "out.csv").read_text(encoding="utf-8-sig")
    names, row = csv.reader(io.StringIO(text))
    assert names == list(results.COLUMNS)
    assert row == ["2", f"'{formula}", "refused", "", "invalid", f"'{formula}"]


def test_a_result_that_cannot_be_finished_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")

    def rows() -> Any:
        yield (2, "R1", "accepted", "queued", "", "")
        raise RuntimeError("the ledger is away")

    with pytest.raises(RuntimeError):
        write_results(path, rows())
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text() == "before"


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "declared",
    [f'<!ENTITY e0 "0123456789">{BOMB}', '<!ENTITY e9 SYSTEM "file:///etc/hostname">'],
    ids=["grows without end", "names another file"],
)
def test_entities_of_a_workbook_are_not_followed(declared: str, tmp_path: Path) -> None:
    path = workbook(tmp_path, HEADER, ("a", "O1", "R1", "ENTITY", 2))
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name).decode() for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, part in parts.items():
            if "ENTITY" in part:
                part = f"<!DOCTYPE sst [{declared}]>{part.replace('ENTITY', '&e9;')}"
            packed.writestr(name, part)
    with pytest.raises(WrongFile, match="cannot be read as XLSX"):
        read(path)
