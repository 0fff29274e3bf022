"""A provider of somebody else's: a package that is installed beside ours."""

import sys
from pathlib import Path

import pytest

#: A package of somebody else's, which uses only what a provider needs.
TOY = """
import json
from refundry import RefundRequest
from worker.errors import NoAnswer
from worker.providers.base import Options, Traits, read_options
from worker.providers.http import Answer, Call
from worker.refund import Outcome, Verdict


class ToyOptions(Options):
    shop: str


class Toy:
    traits = Traits(deduplicates=True, resubmits=False, allows_until_accepted=False, watch_days=0)

    def __init__(self, account):
        self.shop = read_options(account, ToyOptions).shop
        self.base_url = account.base_url
        self.merchant = f"toypay/{self.shop}"

    def check(self, request):
        return []

    doubts = check

    def submission(self, facts):
        return Call(url=f"{self.base_url}/toy", body=f"{self.shop} {facts.refund_no}".encode())

    def read_submission(self, facts, answer):
        if answer.body != b"{}":
            raise NoAnswer("not a toy's answer")
        return Outcome(verdict=Verdict.SUCCEEDED)

    question, read_reply = submission, read_submission


provider = Toy
"""


def install_toy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution that offers the provider ``toypay``, until the test ends."""
    (folder / "toypay_for_refundry.py").write_text(TOY)
    information = folder / "toypay_for_refundry-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: toypay-for-refundry\nVersion: 1.0\n"
    )
    (information / "entry_points.txt").write_text(
        "[refundry.providers]\ntoypay = toypay_for_refundry:provider\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "toypay_for_refundry", raising=False)
