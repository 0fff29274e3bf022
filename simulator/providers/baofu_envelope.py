"""The envelope of ``baofu``: a signed form that comes, a signed JSON text that goes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlencode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from simulator.lines import Json
from simulator.providers.base import Answer, Message, RawCall, RefusedError, Reply

SHANGHAI = timezone(timedelta(hours=8))
_FIXED = {
    "charset": "UTF-8",
    "version": "1.0",
    "format": "json",
    "signType": "RSA",
    "signSn": "1",
    "ncrptnSn": "1",
}
_TIME = re.compile(r"[0-9]{14}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Merchant:
    """Whom a request comes from, and the key its answers are signed with."""

    ter_id: str
    #: The merchant's own.
    public_key: rsa.RSAPublicKey
    #: Baofu's.
    private_key: rsa.RSAPrivateKey

    @classmethod
    def from_pem(cls, *, ter_id: str, public_pem: bytes, private_pem: bytes) -> Merchant:
        """ValueError for what are no RSA keys."""
        public = serialization.load_pem_public_key(public_pem)
        private = serialization.load_pem_private_key(private_pem, None)
        if not isinstance(public, rsa.RSAPublicKey) or not isinstance(private, rsa.RSAPrivateKey):
            raise ValueError("a key is none of RSA")
        return cls(ter_id=ter_id, public_key=public, private_key=private)


def signature(key: rsa.RSAPrivateKey, text: str) -> str:
    """SHA256withRSA in hex over the text's UTF-8 bytes."""
    return key.sign(text.encode("utf-8"), padding.PKCS1v15(), hashes.SHA256()).hex()


def verifies(key: rsa.RSAPublicKey, text: str, sign: str) -> bool:
    if not _HEX.fullmatch(sign) or len(sign) % 2:
        return False
    try:
        key.verify(bytes.fromhex(sign), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def read_form(call: RawCall) -> dict[str, str]:
    kind = call.content_type.partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedError("malformed", f"Content-Type is {call.content_type!r}")
    try:
        pairs = parse_qsl(
            call.body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError:
        raise RefusedError("malformed", "the body is no form in UTF-8") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise RefusedError("malformed", "the form has a field twice")
    return form


def read_content(text: str) -> Json:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RefusedError("malformed", "bizContent is not a JSON object")
    return content


def check_envelope(form: Mapping[str, str], content: Json) -> None:
    for name, value in _FIXED.items():
        if form.get(name) != value:
            raise RefusedError("malformed", f"{name} must be {value}")
    read_time("timestamp", form.get("timestamp", ""))
    for name in ("merId", "terId", "agentMerId", "agentTerId"):
        if content.get(name) != form.get(name):
            raise RefusedError("malformed", f"{name} differs between envelope and bizContent")


def read_time(name: str, text: str) -> datetime:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=SHANGHAI)
    except ValueError:
        raise RefusedError("malformed", f"{name} must be a time as yyyyMMddHHmmss") from None


def answer_to(merchant: Merchant | None, content: Json, twist: str) -> Answer:
    """Signed for a merchant that is known; else the envelope alone says no."""
    if merchant is None:
        envelope = {"returnCode": "FAIL", "returnMsg": content["errMsg"]}
    else:
        text = json.dumps(content, ensure_ascii=False)
        signed = text + " " if twist == "bad_signature" else text
        envelope = {
            "returnCode": "SUCCESS",
            "returnMsg": "OK",
            "signStr": signature(merchant.private_key, signed),
            "dataContent": text,
        }
    return Answer(body=json.dumps(envelope, ensure_ascii=False).encode())


def message_to(merchant: Merchant, content: Json, reply: Reply) -> Message:
    """A notification, which comes in a form or in JSON."""
    text = json.dumps(content, ensure_ascii=False)
    signed = text + " " if reply.twist == "forged" else text
    envelope = _FIXED | {
        "merId": reply.merchant,
        "terId": merchant.ter_id,
        "notifyType": "REFUND",
        "signStr": signature(merchant.private_key, signed),
        "dataContent": text,
    }
    if reply.whim("form") < 0.5:
        return Message(body=urlencode(envelope).encode(), acknowledgement=b"OK")
    body = json.dumps(envelope, ensure_ascii=False).encode()
    return Message(body=body, acknowledgement=b"OK", content_type="application/json")
