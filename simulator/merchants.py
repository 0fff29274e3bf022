"""The merchants file: whom the providers know, and by which secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.providers.baofu import Baofu
from simulator.providers.baofu_envelope import Merchant
from simulator.providers.base import Provider
from simulator.providers.guanaitong import App, Guanaitong
from simulator.providers.hkrt import Hkrt
from simulator.providers.quickpay import QuickPay


class MerchantsError(Exception):
    """Raised when the merchants file cannot be used."""


def read_providers(path: Path) -> dict[str, Provider]:
    """Every provider by name, set up from ``{NAME: {ID: {…}}}``.

    ``hkrt``: ``access_key``. ``quickpay``: no merchants. ``baofu``: ``ter_id``, and two PEM files
    next to this one: ``public_key_file`` (the merchant's) and ``private_key_file`` (Baofu's own).
    ``guanaitong``: ``appsecret``, and where they differ from its page's ``token_life_s`` and
    ``tokens_an_hour``.
    """
    merchants = _load(path)
    for name, value in merchants.items():
        if name not in _MAKERS:
            raise MerchantsError(f"{path}: {name!r} is no provider; known are {', '.join(_MAKERS)}")
        if not isinstance(value, dict):
            raise MerchantsError(f"{path}: {name} must be an object of merchants")
    return {name: make(merchants.get(name, {}), path) for name, make in _MAKERS.items()}


def _load(path: Path) -> dict[str, Any]:
    try:
        merchants = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MerchantsError(f"cannot read the merchants file {path}: {error.strerror}") from None
    except ValueError:
        raise MerchantsError(f"the merchants file {path} is not JSON in UTF-8") from None
    if not isinstance(merchants, dict):
        raise MerchantsError(f"{path}: a JSON object of providers is needed")
    return merchants


def _make_hkrt(merchants: dict[str, Any], path: Path) -> Provider:
    keys = {
        access_id: merchant.get("access_key") if isinstance(merchant, dict) else None
        for access_id, merchant in merchants.items()
    }
    for access_id, key in keys.items():
        if not isinstance(key, str) or not key:
            raise MerchantsError(f"{path}: hkrt merchant {access_id!r} has no access_key text")
    return Hkrt({access_id: str(key) for access_id, key in keys.items()})


def _make_quickpay(merchants: dict[str, Any], path: Path) -> Provider:
    if merchants:
        raise MerchantsError(f"{path}: quickpay signs nothing, so it takes no merchants: {{}}")
    return QuickPay()


def _make_baofu(merchants: dict[str, Any], path: Path) -> Provider:
    return Baofu({mer_id: _baofu_merchant(mer_id, own, path) for mer_id, own in merchants.items()})


def _baofu_merchant(mer_id: str, own: Any, path: Path) -> Merchant:
    names = ("ter_id", "public_key_file", "private_key_file")
    if not isinstance(own, dict) or not all(isinstance(own.get(name), str) for name in names):
        raise MerchantsError(f"{path}: baofu merchant {mer_id!r} needs {', '.join(names)}")
    try:
        return Merchant.from_pem(
            ter_id=own["ter_id"],
            public_pem=(path.parent / own["public_key_file"]).read_bytes(),
            private_pem=(path.parent / own["private_key_file"]).read_bytes(),
        )
    except (OSError, ValueError) as error:
        raise MerchantsError(f"{path}: baofu merchant {mer_id!r}: {error}") from None


def _make_guanaitong(merchants: dict[str, Any], path: Path) -> Provider:
    return Guanaitong({appid: _app(appid, own, path) for appid, own in merchants.items()})


def _app(appid: str, own: Any, path: Path) -> App:
    where = f"{path}: guanaitong application {appid!r}"
    if not isinstance(own, dict) or not isinstance(own.get("appsecret"), str):
        raise MerchantsError(f"{where} has no appsecret text")
    numbers = {name: own[name] for name in ("token_life_s", "tokens_an_hour") if name in own}
    if set(own) - {"appsecret", *numbers}:
        raise MerchantsError(f"{where} takes appsecret, token_life_s and tokens_an_hour")
    for name, value in numbers.items():
        if type(value) is not int or value < 1:
            raise MerchantsError(f"{where}: {name} is {value!r}: an integer from 1 is needed")
    return App(appid=appid, secret=own["appsecret"], **numbers)


_MAKERS: dict[str, Callable[[dict[str, Any], Path], Provider]] = {
    "quickpay": _make_quickpay,
    "hkrt": _make_hkrt,
    "baofu": _make_baofu,
    "guanaitong": _make_guanaitong,
}
