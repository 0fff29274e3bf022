"""What only Baofu asks for: keys in files, bounds and a window at intake, one refund at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from config.errors import ConfigError
from refundry import RefundRequest
from tests.providers.harness import account, facts
from tests.simulator.harness import BAOFU_KEYS
from worker.errors import NotSent
from worker.providers import baofu
from worker.providers.base import load_provider
from worker.providers.rsa import load_private_key, load_public_key, rsa_matches, rsa_sign

NOW = datetime(2026, 1, 31, 4, tzinfo=UTC)
KEY = load_private_key((BAOFU_KEYS / "merchant.pem").read_bytes(), None)
PLAIN = form.NoEncryption()
LOCKED = form.BestAvailableEncryption(b"HUNTER2")


@pytest.fixture(autouse=True)
def _stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baofu, "now", lambda: NOW)


def certificate() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "refundry test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(KEY.public_key()).serial_number(1)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(KEY, hashes.SHA256())


def pem(lock: form.KeySerializationEncryption) -> bytes:
    return KEY.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)


def pfx(lock: form.KeySerializationEncryption) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"m", KEY, certificate(), None, lock)


def requested(**changed: Any) -> RefundRequest:
    job = {"account": "main", "order_no": "O1", "refund_no": "R1", "amount": 50}
    job |= {"order_amount": 100, "reason": "七天无理由", "paid_at": "2026-01-30T12:00:00+08:00"}
    return RefundRequest.read(job | changed)


def problems(**changed: Any) -> str:
    """What intake says of a job; empty where it takes it."""
    return "; ".join(load_provider(account("baofu")).check(requested(**changed)))


def doubts(**changed: Any) -> str:
    """What intake warns of."""
    return "; ".join(load_provider(account("baofu")).doubts(requested(**changed)))


class TestKeys:
    @pytest.mark.parametrize(
        ("data", "password"),
        [
            pytest.param(pem(PLAIN), None, id="PEM"),
            pytest.param(pem(LOCKED), "HUNTER2", id="locked PEM"),
            pytest.param(b"Bag Attributes\n" + pem(PLAIN), None, id="PEM out of a PFX"),
            pytest.param(pfx(LOCKED), "HUNTER2", id="PFX"),
            pytest.param(pfx(PLAIN), None, id="open PFX"),
        ],
    )
    def test_the_merchants_key_is_read_in_every_form(
        self, tmp_path: Path, data: bytes, password: str | None
    ) -> None:
        (tmp_path / "key").write_bytes(data)
        own: dict[str, Any] = {"private_key": "file:key", "private_key_password": password}
        own["folder"] = tmp_path
        calls = [
            load_provider(account("baofu", **more)).question(facts()).body for more in ({}, own)
        ]
        assert calls[0] == calls[1]

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(
                KEY.public_key().public_bytes(
                    form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
                ),
                id="PEM key",
            ),
            pytest.param(certificate().public_bytes(form.Encoding.PEM), id="PEM certificate"),
            pytest.param(certificate().public_bytes(form.Encoding.DER), id="CER"),
        ],
    )
    def test_the_providers_key_is_read_in_every_form(self, data: bytes) -> None:
        assert rsa_matches(load_public_key(data), b"abc", rsa_sign(KEY, b"abc"))

    @pytest.mark.parametrize(
        ("data", "password"),
        [
            (pem(LOCKED), None),
            (pem(LOCKED), "HUNTER3"),
            (pem(PLAIN), "HUNTER3"),
            (pfx(LOCKED), "HUNTER3"),
            (pfx(LOCKED), None),
            (b"HUNTER2", None),
            (b"", None),
            (pem(PLAIN)[:200], None),
            (
                ec.generate_private_key(ec.SECP256R1()).private_bytes(
                    form.Encoding.PEM, form.PrivateFormat.PKCS8, PLAIN
                ),
                None,
            ),
        ],
        ids=range(9),
    )
    def test_a_key_that_cannot_be_read_names_the_setting_and_tells_no_secret(
        self, tmp_path: Path, data: bytes, password: str | None
    ) -> None:
        (tmp_path / "key").write_bytes(data)
        own: dict[str, Any] = {"private_key": "file:key", "private_key_password": password}
        own["folder"] = tmp_path
        with pytest.raises(ConfigError, match=r"accounts\.main: private_key: ") as raised:
            load_provider(account("baofu", **own))
        assert "HUNTER" not in str(raised.value)

    @pytest.mark.parametrize("value", ["HUNTER2", f"file:{BAOFU_KEYS / 'baofu.pem'}"])
    def test_a_public_key_that_is_none_names_the_setting(self, value: str) -> None:
        with pytest.raises(ConfigError, match=r"accounts\.main: provider_public_key: ") as raised:
            load_provider(account("baofu", provider_public_key=value))
        assert "HUNTER2" not in str(raised.value)

    def test_a_signature_holds_for_its_bytes_and_its_key_alone(self) -> None:
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        good = rsa_sign(KEY, "“退”".encode())
        assert rsa_matches(KEY.public_key(), "“退”".encode(), good)
        assert not rsa_matches(KEY.public_key(), "“退” ".encode(), good)
        assert not rsa_matches(other.public_key(), "“退”".encode(), good)


@pytest.mark.parametrize(
    "change",
    [
        {"mer_id": "1" * 17},
        {"ter_id": ""},
        {"agent_mer_id": "1" * 17},
        {"agent_ter_id": "1" * 17},
        {"notify_url": "https://shop.example/" + "x" * 128},
        {"sign_sn": "1" * 11},
        {"private_key": "file:nowhere.pem"},
        {"serialisation": "until_accepted"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_setting_beyond_the_page_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        load_provider(account("baofu", **change))


class TestIntake:
    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"refund_no": "R" * 32, "order_no": "O" * 32, "reason": "退" * 128},
            {"extra": {"originTradeNo": "1" * 32, "merchantName": "商" * 128, "attach": "a"}},
            {"extra": {"reqReserved": "r" * 128, "advanceAmt": 1, "attach": None}},
            {"extra": {"sharingRefundInfo": [{"sharingMerId": "1" * 16, "sharingAmt": 1}]}},
            # The formula needs what is not shared yet, so nothing is refused for it.
            {"extra": {"sharingRefundInfo": [{"sharingMerId": "1", "sharingAmt": 99}]}},
            {"extra": {"advanceAmt": 99}},
            {"extra": {"mktRefundInfo": {"mktMerId": "1" * 16, "mktAmt": 1}}},
            {"paid_at": "2025-01-31T12:00:00+08:00"},
        ],
    )
    def test_what_the_page_takes_is_taken(self, change: dict[str, Any]) -> None:
        assert problems(**change) == ""

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"refund_no": "R" * 33}, "refund_no: "),
            ({"order_no": "O" * 33}, "order_no: "),
            ({"reason": ""}, "reason: "),
            ({"reason": "  "}, "reason: "),
            ({"reason": "退" * 129}, "reason: "),
            ({"paid_at": None}, "paid_at: "),
            ({"paid_at": "2025-01-31T11:59:59+08:00"}, "paid_at: "),
            ({"currency": "USD"}, "currency: "),
            ({"items": [{"a": 1}]}, "items: "),
            ({"extra": {"originTradeNo": "1" * 33}}, "extra.originTradeNo: "),
            ({"extra": {"originTradeNo": ""}}, "extra.originTradeNo: "),
            ({"extra": {"merchantName": "商" * 129}}, "extra.merchantName: "),
            ({"extra": {"attach": "a" * 129}}, "extra.attach: "),
            ({"extra": {"reqReserved": "a" * 129}}, "extra.reqReserved: "),
            ({"extra": {"advanceAmt": 0}}, "extra.advanceAmt: "),
            ({"extra": {"advanceAmt": "1"}}, "extra.advanceAmt: "),
            ({"extra": {"sharingRefundInfo": []}}, "extra.sharingRefundInfo: "),
            (
                {"extra": {"sharingRefundInfo": [{"sharingMerId": "1" * 17, "sharingAmt": 1}]}},
                "extra.sharingRefundInfo.0.sharingMerId: ",
            ),
            (
                {"extra": {"sharingRefundInfo": [{"sharingMerId": "1"}]}},
                "extra.sharingRefundInfo.0.sharingAmt: ",
            ),
            ({"extra": {"mktRefundInfo": {"mktAmt": 1}}}, "extra.mktRefundInfo.mktMerId: "),
            ({"extra": {"totalAmt": 1}}, "extra.totalAmt: "),
            ({"extra": {"outTradeNo": "R2"}}, "extra.outTradeNo: "),
            ({"extra": {"merId": "1"}}, "extra.merId: "),
        ],
    )
    def test_what_the_page_does_not_take_is_named(self, change: dict[str, Any], field: str) -> None:
        assert problems(**change).startswith(field)

    @pytest.mark.parametrize(
        ("extra", "warned"),
        [
            ({}, False),
            ({"sharingRefundInfo": None, "advanceAmt": None}, False),
            ({"sharingRefundInfo": [{"sharingMerId": "1", "sharingAmt": 50}]}, False),
            ({"sharingRefundInfo": [{"sharingMerId": "1", "sharingAmt": 51}]}, True),
            (
                {
                    "sharingRefundInfo": [
                        {"sharingMerId": "1", "sharingAmt": 25},
                        {"sharingMerId": "2", "sharingAmt": 25},
                    ],
                    "advanceAmt": 1,
                },
                True,
            ),
        ],
    )
    def test_a_formula_that_cannot_come_out_is_a_doubt_and_no_refusal(
        self, extra: dict[str, Any], warned: bool
    ) -> None:
        assert problems(extra=extra) == ""
        assert bool(doubts(extra=extra)) is warned

    @pytest.mark.parametrize(("part", "taken"), [(1, True), (49, True), (50, False), (51, False)])
    def test_marketing_bears_less_than_the_whole(self, part: int, taken: bool) -> None:
        extra = {"mktRefundInfo": {"mktAmt": part, "mktMerId": "100000"}}
        assert (problems(extra=extra) == "") is taken

    @pytest.mark.parametrize(
        ("paid_at", "now", "takes"),
        [
            ("2024-02-29T12:00:00+08:00", "2025-02-28T12:00:00+08:00", True),
            ("2024-02-29T12:00:00+08:00", "2025-02-28T12:00:01+08:00", False),
            ("2023-03-01T12:00:00+08:00", "2024-03-01T12:00:00+08:00", True),
            ("2025-01-31T15:59:59+00:00", "2026-01-31T16:00:00+00:00", False),
        ],
    )
    def test_the_window_is_a_year_by_shanghais_calendar(
        self, monkeypatch: pytest.MonkeyPatch, paid_at: str, now: str, takes: bool
    ) -> None:
        monkeypatch.setattr(baofu, "now", lambda: datetime.fromisoformat(now))
        assert (problems(paid_at=paid_at) == "") is takes


def test_a_refund_without_its_orders_time_is_not_sent() -> None:
    with pytest.raises(NotSent, match="paid_at"):
        load_provider(account("baofu")).submission(facts(paid_at=None))


def test_a_provider_that_asks_for_a_minute_says_so() -> None:
    assert load_provider(account("baofu")).traits.query_not_before_s == 60
