"""What strangers wrote starts no line of a log or a terminal, and no terminal obeys it."""

import io
import json
import logging
import sys
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from config.logs import configure_logging
from config.visible import json_line, visible, visible_lines
from worker.cli.output import fail, print_json, print_rows, print_table

#: A colour, a window's title, a cursor that goes back, other ends of lines, text turned around.
NASTY = [
    *("\x1b[31mred", "\x1b]0;title\x07", "\x9b31mred", "\r\x08\x7f", "a\nb", "a\x0b\x0cb"),
    *("\x85next", "\u2028line", "\u2029paragraph", "\u202eturned", "\u2066kept\u2069", "\ufeff"),
    *("\ud800half", "\x00"),
]
nasty = pytest.mark.parametrize("text", NASTY, ids=ascii)


@given(st.text(st.characters(exclude_categories=[])))
def test_a_visible_text_is_printable_and_a_visible_json_text_reads_as_before(text: str) -> None:
    assert visible(text).isprintable()
    assert text != visible(text) or text.isprintable()
    line = json_line({text: [text]})
    assert line.isprintable()
    assert json.loads(line) == {text: [text]}


def test_words_of_any_language_are_left_as_they_are() -> None:
    assert visible("退款成功 für ñ 👍") == "退款成功 für ñ 👍"
    assert json_line("退款成功 👍") == '"退款成功 👍"'
    assert visible_lines("a\nb\x1b") == "a\nb\\x1b"


@nasty
def test_a_record_is_one_printable_line_whoever_logs_it(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logging()
        structlog.configure(cache_logger_on_first_use=False)  # a kept logger outlives the test
        structlog.get_logger("ours").warning("event", reason=text, **{text: {"deep": [text]}})
        logging.getLogger(text).warning("theirs %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            logging.getLogger("theirs").exception(text)
    finally:
        root.handlers[:], root.level = before
        structlog.reset_defaults()
    lines = written.getvalue().split("\n")
    assert (len(lines), lines[-1]) == (4, "")
    assert all(line.isprintable() for line in lines)
    assert json.loads(lines[0])["reason"] == text


@nasty
def test_what_commands_print_obeys_to_nobody(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    row: dict[str, Any] = {"reason": text, "detail": {"deep": text}}
    print_table(text, ["", ""], row.items())
    print_rows("Rows", [row])
    print_json(row)
    with pytest.raises(SystemExit):
        fail(text, 1)
    said = capsys.readouterr()
    assert all(line.isprintable() for line in said.out.split("\n"))
    assert said.err[-1] == "\n"
    assert said.err[:-1].isprintable()
