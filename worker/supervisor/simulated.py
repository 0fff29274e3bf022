"""The demonstration's providers: a simulator process, and accounts that point at it."""

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from worker.supervisor.home import Home, write_private
from worker.supervisor.ports import HOST, kept_port
from worker.supervisor.program import Program

#: Makes every run of the simulator draw the same faults.
_SEED: Final = 7
_ACCESS_ID: Final = "cpostest"
_MER_ID: Final = "100000"
_TER_ID: Final = "100001"
#: Guanaitong's application, which the numbers of its orders and refunds begin with.
APPID: Final = "10000001"

#: Waits are 100 times shorter than the protocol's; ``time_scale`` does not touch the timeouts.
_ACCOUNTS: Final = """\
# Written by `refundry up --demo` at every start.

[accounts.shop-quickpay]
provider = "quickpay"
base_url = "{url}/qp"
store_no = "S1"
operator = "ops"
query = true
merchant = "lianke-1"
{patience}

[accounts.shop-hkrt]
provider = "hkrt"
base_url = "{url}/hk"
access_id = "{access_id}"
access_key = "file:hkrt.key"
channel = "wx"
notify_url = "{gateway}/callbacks/shop-hkrt"
{patience}

[accounts.shop-baofu]
provider = "baofu"
base_url = "{url}/bf/api"
mer_id = "{mer_id}"
ter_id = "{ter_id}"
private_key = "file:merchant.pem"
provider_public_key = "file:baofu.pub.pem"
notify_url = "{gateway}/callbacks/shop-baofu"
{patience}

[accounts.shop-gat]
provider = "guanaitong"
base_url = "{url}/gat"
appid = "{appid}"
appsecret = "file:guanaitong.key"
exists_codes = [1000210777]
notify_url = "{gateway}/callbacks/shop-gat"
{patience}
"""
_PATIENCE: Final = """\
time_scale = 0.01
connect_timeout_s = 2
read_timeout_s = 2
total_timeout_s = 3
send_deadline_s = 2
provider_delay_s = 100
not_found_over_s = 60
poll_schedule_s = [50]"""


def simulator_program(home: Home, environment: Mapping[str, str]) -> tuple[Program, str]:
    """The simulator and its URL; it keeps its port and its book across restarts."""
    port = kept_port(home.run / "simulator.port")
    merchants = _folder(home) / "merchants.json"
    write_private(merchants, json.dumps(_merchants(home)))
    places = ("--home", str(home.root / "simulator"), "--merchants", str(merchants))
    program = Program(
        name="simulator",
        argv=(
            *(sys.executable, "-m", "simulator", "--port", str(port)),
            *(*places, "--seed", str(_SEED)),
        ),
        environment=environment,
    )
    return program, f"http://{HOST}:{port}"


def write_accounts(home: Home, simulator_url: str, gateway_url: str) -> Path:
    """An account of every provider, ``shop-quickpay`` and so on, served by the simulator."""
    path = _folder(home) / "accounts.toml"
    named = {"access_id": _ACCESS_ID, "mer_id": _MER_ID, "ter_id": _TER_ID, "appid": APPID}
    places = {"url": simulator_url, "gateway": gateway_url}
    write_private(path, _ACCOUNTS.format(patience=_PATIENCE, **places, **named))
    return path


def _merchants(home: Home) -> dict[str, Any]:
    """Whom the simulated providers know; the keys are made once a home."""
    for owner in ("merchant", "baofu"):
        _make_key_pair(_folder(home), owner)
    baofu = {
        "ter_id": _TER_ID,
        "public_key_file": "merchant.pub.pem",
        "private_key_file": "baofu.pem",
    }
    return {
        "hkrt": {_ACCESS_ID: {"access_key": _key(home, "hkrt")}},
        "baofu": {_MER_ID: baofu},
        "guanaitong": {APPID: {"appsecret": _key(home, "guanaitong")}},
    }


def _make_key_pair(folder: Path, owner: str) -> None:
    private, public = folder / f"{owner}.pem", folder / f"{owner}.pub.pem"
    if public.exists():
        return
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(private, pem.decode())
    own = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_private(public, own.decode())


def _folder(home: Home) -> Path:
    folder = home.root / "demo"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _key(home: Home, provider: str) -> str:
    """The key that both sides sign with; made once a home."""
    path = _folder(home) / f"{provider}.key"
    if not path.exists():
        write_private(path, f"{secrets.token_hex(16)}\n")
    return path.read_text(encoding="ascii").strip()
