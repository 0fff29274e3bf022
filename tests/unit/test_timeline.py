"""A refund's page: whole, harmless whatever stands in it, in two languages, to the fen."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from refundry import State
from worker.case_rules import Deed
from worker.refund import Attempt, Case, Verdict
from worker.timeline import words
from worker.timeline.page import page
from worker.timeline.words import TABLES, Language, Words, moment, money

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "worker/timeline/locale/zh/LC_MESSAGES/refundry"
AT = datetime(2026, 1, 31, 12, 30, 5, tzinfo=UTC)
VOID = {"meta", "br", "hr", "img", "link", "input"}
#: What a page would load, run or send something by.
ACTIVE = {"script", "img", "link", "iframe", "object", "embed", "form", "base", "svg", "video"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></tr></table></body>",
    "]]><!--",
    "&lt;b&gt; &amp; &#60;",
    "</style><style>body{display:none}",
    "\u202eegap a \x1b[31m\x00\u2028",
]
SAID_OF_AN_ATTEMPT = ("code", "message", "status", "request", "answer")
SAID_OF_A_CASE = ("who", "what", "reason")
SAID_OF_A_SETTLEMENT = ("evidence", "proposed_by", "reason")
SHOWN: dict[str, Any] = {
    "account": "shop",
    "order_no": "O1",
    "refund_no": "R1",
    "state": "succeeded",
    "amount": 123456,
    "currency": "CNY",
    "provider_refund_no": "P1",
    "reason": "",
    "accepted_at": AT,
    "due_at": None,
    "asked": 1,
    "last_answer": "",
    "order": {
        "order_amount": 100000000,
        "paid_amount": 99999999,
        "refunded_before": 0,
        "refunded": 123456,
        "reserved": 5,
        "excess": 0,
        "provider_refunded": None,
        "provider_left": 7,
        "figures_at": AT,
    },
    "attempts": [
        {
            "number": 1,
            "status": "succeeded",
            "started_at": AT,
            "finished_at": None,
            "code": "00",
            "message": "done",
            "request": "POST /refund\n{}",
            "answer": "HTTP 200\n{}",
        }
    ],
    "events": [
        {"at": AT, "kind": "accepted", "state": "queued", "attempt": 0, "detail": {"amount": 1}},
        {
            "at": AT,
            "kind": "novel",
            "state": "succeeded",
            "attempt": 1,
            "detail": {"code": "1", "exchange": {"request": "POST /query", "answer": None}},
        },
    ],
    "callbacks": [{"first_at": AT, "verdict": "succeeded", "times": 2}],
    "cases": [
        {
            "id": 7,
            "opened_at": AT,
            "kind": "aged",
            "owner": "li",
            "closed_at": None,
            "evidence": {"state": "unknown"},
            "entries": [
                {"at": AT, "who": "refundry", "what": "opened", "reason": "", "detail": {}},
                {
                    "at": AT,
                    "who": "li",
                    "what": "assigned",
                    "reason": "on leave",
                    "detail": {"owner": "wang"},
                },
            ],
        }
    ],
    "proposals": [
        {
            "state": "failed",
            "evidence": "line 7",
            "proposed_by": "li",
            "proposed_at": AT,
            "withdrawn_by": None,
            "approved_by": "wang",
            "approved_at": AT,
            "closed_at": AT,
            "reason": "seen in the bill",
        }
    ],
}


class Read(HTMLParser):
    """A page as a browser takes it to pieces: tags that must nest, texts, attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def read(language: Language = Language.EN, **changed: Any) -> Read:
    return Read(page(SHOWN | changed, Words(language), AT))


def test_a_page_has_everything_that_a_refund_went_through() -> None:
    rows = read().rows
    for row in (
        ["Account", "shop"],
        ["Amount", "¥1,234.56"],
        ["State", "Refunded (succeeded)"],
        ["Provider's number", "P1"],
        ["Accepted", "2026-01-31 20:30:05 +08:00"],
        ["Total", "¥1,000,000.00"],
        ["Paid", "¥999,999.99"],
        ["Reserved", "¥0.05"],
        ["Left, says the provider", "¥0.07"],
    ):
        assert row in rows
    (accepted,) = (row for row in rows if row[1].endswith(" accepted"))
    assert accepted[0] == "2026-01-31 20:30:05 +08:00"
    assert accepted[1].startswith("The refund was accepted")
    assert accepted[4] == '{"amount": 1}'
    assert [row[2] for row in rows if row[1:2] == ["novel novel"]] == ["Refunded succeeded"]
    assert [row[-1] for row in rows if "00" in row] == ["done"]
    assert [row[4] for row in rows if row[0] == "7"] == ["open"]


def test_a_page_shows_what_was_sent_and_what_came_back_once() -> None:
    found = read()
    sent = [row for row in found.rows if "POST" in str(row)]
    assert [row[1] for row in sent] == ["Attempt 1", "Asked: novel"]
    assert [row[2:] for row in sent] == [
        ["POST /refund\n{}", "HTTP 200\n{}"],
        ["POST /query", ""],
    ]
    assert '{"code": "1"}' in found.texts


def test_a_page_says_who_did_what_about_a_case_and_who_settled_it() -> None:
    rows = read().rows
    opened, assigned = (row for row in rows if row[1:2] == ["7 aged"])
    assert opened[2:] == ["refundry", "Opened the case opened", "", ""]
    assert assigned[2:5] == ["li", "Gave it to somebody assigned", "on leave"]
    assert assigned[5] == '{"owner": "wang"}'
    (settled,) = (row for row in rows if "line 7" in row)
    when = "2026-01-31 20:30:05 +08:00"
    assert settled == [
        *("Failed: not refunded failed", "line 7", "li", when),
        *("approved", "wang", when, "seen in the bill"),
    ]
    assert "转交 assigned" in [row[3] for row in read(Language.ZH).rows if len(row) > 3]


def test_a_page_in_chinese_has_the_same_cells_in_other_words() -> None:
    english, chinese = read(), read(Language.ZH)
    assert [len(row) for row in english.rows] == [len(row) for row in chinese.rows]
    assert ["状态", "已退款 (succeeded)"] in chinese.rows
    assert ["金额", "¥1,234.56"] in chinese.rows
    assert "人工处理" in chinese.texts
    assert 'lang="zh-CN"' in page(SHOWN, Words(Language.ZH), AT)


def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    text = page(SHOWN, Words(Language.EN), AT)
    found = Read(text)
    assert not found.tags & ACTIVE
    assert not {name for name in found.attributes if name.startswith("on")}
    assert not found.attributes & {"src", "href", "action", "style"}
    assert not re.search(r"https?:|url\(|@import", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_what_strangers_wrote_is_text(text: str) -> None:
    plain = read()
    hostile = read(
        refund_no=text,
        reason=text,
        provider_refund_no=text,
        attempts=[SHOWN["attempts"][0] | dict.fromkeys(SAID_OF_AN_ATTEMPT, text)],
        events=[SHOWN["events"][0] | {"kind": text, "state": text, "detail": {text: text}}],
        cases=[
            SHOWN["cases"][0]
            | {"kind": text, "owner": text, "evidence": {"said": text}}
            | {"entries": [dict.fromkeys(SAID_OF_A_CASE, text) | {"at": AT, "detail": {text: 1}}]}
        ],
        proposals=[SHOWN["proposals"][0] | dict.fromkeys(SAID_OF_A_SETTLEMENT, text)],
        callbacks=[SHOWN["callbacks"][0] | {"verdict": text}],
    )
    assert (hostile.tags, hostile.attributes) == (plain.tags, plain.attributes)
    assert all(sign.isprintable() or sign == "\n" for one in hostile.texts for sign in one)


@given(st.integers(-(10**12), 10**12))
def test_money_is_written_to_the_fen(fen: int) -> None:
    written = money(fen, "CNY")
    assert int(re.sub(r"[¥,.]", "", written)) == fen
    assert re.fullmatch(r"-?¥\d{1,3}(,\d{3})*\.\d\d", written)


def test_money_of_another_currency_says_which() -> None:
    assert money(-123456, "USD") == "-USD 1,234.56"
    assert (money(0, "CNY"), money(29, "CNY"), money(-5, "CNY")) == ("¥0.00", "¥0.29", "-¥0.05")


def test_a_time_is_shanghais() -> None:
    assert moment(datetime(2026, 1, 31, 16, 0, tzinfo=UTC)) == "2026-02-01 00:00:00 +08:00"


def emitted() -> Iterator[str]:
    """Every kind of event that a decision or a step names."""
    for path in [*(ROOT / "worker/decisions").glob("*.py"), *(ROOT / "worker/steps").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "event":
                named = [one for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
                yield from (str(one.value) for one in named if isinstance(one.value, str))


def test_every_state_event_case_and_attempt_has_words() -> None:
    assert set(words.STATES) == set(State)
    assert set(words.CASES) == set(Case)
    assert set(words.ATTEMPTS) == set(Attempt)
    assert set(words.DEEDS) == set(Deed)
    section = (ROOT / "docs/states.md").read_text().partition("\n## Events\n")[2]
    listed = set(re.findall(r"`(\w+)`", section.partition("\n## ")[0]))
    known = {*emitted(), *listed} - {"looked_at", "refundry"}
    answers = {Verdict.NEVER_SENT, Verdict.BUSY, Verdict.TOKEN, Verdict.KNOWN, Verdict.PENDING}
    assert known | answers <= set(words.EVENTS)
    assert set(words.EVENTS) <= known | set(Verdict)


def test_the_catalogue_says_everything_in_chinese_and_nothing_else() -> None:
    with CATALOGUE.with_suffix(".po").open("rb") as file:
        written = {one.id: one for one in read_po(file) if one.id}
    assert set(written) == {text for table in TABLES for text in table.values()}
    assert [one.id for one in written.values() if one.fuzzy or not one.string] == []
    assert [key for key, one in written.items() if str(one.string).isascii()] == []


def test_what_is_read_is_compiled_from_what_people_edit() -> None:
    with CATALOGUE.with_suffix(".po").open("rb") as edited:
        written = {one.id: one.string for one in read_po(edited) if one.id}
    with CATALOGUE.with_suffix(".mo").open("rb") as compiled:
        made = {one.id: one.string for one in read_mo(compiled) if one.id}
    assert made == written, "pybabel compile -D refundry -d worker/timeline/locale"
