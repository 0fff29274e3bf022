"""``accounts.toml``: read once at the start, wrong settings named, secrets never shown."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.accounts import LEASE_MARGIN_S, Account, load_accounts
from config.celery_options import VISIBILITY_TIMEOUT_S
from config.errors import ConfigError
from tests.unit.builders import account
from worker.runtime import Line, build_lines

SECRET = "hunter2-hunter2-hunter2"
QUICKPAY = """
[accounts.shop-quickpay]
provider = "quickpay"
base_url = "http://127.0.0.1:9000/qp"
store_no = "S1"
operator = "ops"
query = true
merchant = "lianke-1"
time_scale = 1.0
"""
HKRT = """
[accounts.shop-hkrt]
provider = "hkrt"
base_url = "http://127.0.0.1:9000/hk"
access_id = "cpostest"
access_key = "{key}"
channel = "wx"
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes ``accounts.toml``; returns its path."""

    def _write(text: str) -> Path:
        path = tmp_path / "accounts.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def lines_of(path: Path) -> dict[str, Line]:
    """The accounts at work."""
    return build_lines(load_accounts(path))


def test_the_contracts_accounts_are_read(write: Write) -> None:
    lines = lines_of(write(QUICKPAY + HKRT.format(key=SECRET)))
    assert {name: line.provider.merchant for name, line in lines.items()} == {
        "shop-quickpay": "quickpay/lianke-1",
        "shop-hkrt": "hkrt/cpostest",
    }


def test_accounts_that_share_orders_let_go_of_them_alike(write: Write) -> None:
    other = HKRT.format(key=SECRET).replace("shop-hkrt", "till-hkrt")
    with pytest.raises(ConfigError, match=r"till-hkrt.*shop-hkrt.*serialisation"):
        lines_of(write(HKRT.format(key=SECRET) + other + 'serialisation = "until_accepted"\n'))


def test_every_setting_of_the_contract_is_known(write: Write) -> None:
    more = """
connect_timeout_s = 1
read_timeout_s = 2
total_timeout_s = 3
send_deadline_s = 4
provider_delay_s = 60
serialisation = "until_accepted"
spacing_s = 7
max_refunds_per_order = 50
definitive_codes = ["A", 17]
funds_codes = ["B"]
not_found_needed = 5
not_found_over_s = 900
attempts_max = 2
poll_schedule_s = [1, 2]
watch_days = 3
rate_limit = "300/5 minutes"
breaker_failures = 7
breaker_reset_s = 60
"""
    read = load_accounts(write(QUICKPAY + more))["shop-quickpay"]
    assert read.definitive_codes == {"A", "17"}
    assert read.poll_schedule_s == (1, 2)
    assert (read.lease_s, read.grace_s) == (3 + 4 + LEASE_MARGIN_S, 3 + 4 + 60)
    assert read.options == {"store_no": "S1", "operator": "ops"}


def test_no_file_means_no_accounts(tmp_path: Path) -> None:
    assert load_accounts(tmp_path / "nowhere.toml") == {}


@pytest.mark.parametrize("bad", ["[accounts", "[accounts]\nx = 3", "\xff\x00"])
def test_an_unreadable_file_is_named(bad: str, write: Write) -> None:
    with pytest.raises(ConfigError, match=r"accounts\.toml"):
        load_accounts(write(bad))


def test_a_secret_stands_in_the_file_the_environment_or_a_file_beside_it(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HKRT_ACCESS_KEY", SECRET)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "hkrt").write_text(f"{SECRET}\n")
    monkeypatch.chdir("/")
    bodies = set()
    for key in (SECRET, "env:HKRT_ACCESS_KEY", "file:keys/hkrt"):
        line = lines_of(write(HKRT.format(key=key)))["shop-hkrt"]
        provider = line.provider
        assert SECRET not in f"{line.account!r} {line.account} {vars(provider)} {vars(line)}"
        bodies.add(vars(provider)["_options"].access_key.get_secret_value())
    assert bodies == {SECRET}


@pytest.mark.parametrize("key", ["env:NOT_SET", "file:not/there", "env:EMPTY", ""])
def test_a_secret_that_is_not_there_is_named(
    key: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ConfigError, match=r"accounts\.shop-hkrt.*access_key") as caught:
        lines_of(write(HKRT.format(key=key)))
    assert key.partition(":")[2] in str(caught.value) or key == "env:EMPTY"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (QUICKPAY + 'store = "S1"', "store"),
        (QUICKPAY + "retries = 3", "retries"),
        (QUICKPAY.replace('quickpay"', 'stripe"'), "stripe"),
        (QUICKPAY.replace('"quickpay"', '"base"'), "base"),
        (QUICKPAY.replace('"quickpay"', '"../quickpay"'), "quickpay"),
        (QUICKPAY.replace('"S1"', f'"{SECRET * 9}"'), "store_no"),
        (QUICKPAY + 'signing = "md5"', "sign_key"),
        (QUICKPAY + 'signing = "headers"', "headers"),
        (QUICKPAY + f'signing = "{SECRET}"', "signing"),
        (QUICKPAY + f"definitive_codes = '{SECRET}'", "definitive_codes"),
        (QUICKPAY + "total_timeout_s = 0", "total_timeout_s"),
        (QUICKPAY + "total_timeout_s = nan", "total_timeout_s"),
        (QUICKPAY + "attempts_max = 0", "attempts_max"),
        (QUICKPAY + "poll_schedule_s = []", "poll_schedule_s"),
        (QUICKPAY + 'rate_limit = "10"', "rate_limit.*10/second"),
        (QUICKPAY + 'rate_limit = "10/second;50/minute"', "rate_limit.*one rate"),
        (QUICKPAY + 'rate_limit = "0/second"', "rate_limit.*at least one"),
        (QUICKPAY + "breaker_failures = 0", "breaker_failures"),
        (QUICKPAY + "breaker_reset_s = 0", "breaker_reset_s"),
        (QUICKPAY.replace("time_scale = 1.0", "time_scale = 0"), "time_scale"),
        (QUICKPAY.replace("time_scale = 1.0", "time_scale = 2"), "time_scale"),
        (QUICKPAY.replace("http://", f"http://u:{SECRET}@"), "base_url"),
        (QUICKPAY.replace("http://", f"http://:{SECRET}@"), "base_url"),
        (QUICKPAY.replace("http://", f"http://u:{SECRET}/1@"), "base_url"),
        (QUICKPAY.replace("http://", f"htp://u:{SECRET}@"), "base_url"),
        (QUICKPAY.replace("127.0.0.1", "10.0.0.1"), "base_url must be https"),
        (QUICKPAY.replace("127.0.0.1", "localhost.example.com"), "base_url must be https"),
        (QUICKPAY.replace("127.0.0.1", "127.0.0.1.example.com"), "base_url must be https"),
        (QUICKPAY.replace("9000/qp", f"9000/qp?key={SECRET}"), "base_url"),
        (HKRT.format(key=SECRET).replace('"wx"', '"../x"'), "channel"),
        (HKRT.format(key=SECRET) + 'acess_key = "x"', "acess_key"),
        (HKRT.format(key=SECRET).replace("access_id", "accessid"), "access_id"),
    ],
)
def test_a_wrong_setting_is_named_and_no_value_is_shown(
    text: str, named: str, write: Write
) -> None:
    with pytest.raises(ConfigError, match=r"accounts\.shop-") as caught:
        lines_of(write(text))
    assert re.search(named, str(caught.value))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("[::1]", True),
        ("pay.example.com", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_waits_are_shortened_on_loopback_only(host: str, loopback: bool) -> None:
    url = f"https://{host}:9000/qp"
    assert account(base_url=url, time_scale=1).time_scale == 1
    if loopback:
        assert account(base_url=url, time_scale=0.01).scaled(100) == 1
    else:
        with pytest.raises(ValidationError, match="loopback"):
            account(base_url=url, time_scale=0.99)


@given(st.floats(0.001, 1), st.floats(0.1, 300), st.floats(0.1, 300), st.floats(0.1, 1000))
def test_the_scale_never_shortens_what_guards_a_call(
    scale: float, total: float, deadline: float, delay: float
) -> None:
    timeouts = {"total_timeout_s": total, "send_deadline_s": deadline, "provider_delay_s": delay}
    plain, scaled = account(**timeouts), account(**timeouts, time_scale=scale)
    assert scaled.lease_s == plain.lease_s == total + deadline + LEASE_MARGIN_S
    assert scaled.grace_s == total + deadline + delay * scale


@given(st.floats(0.1, 300), st.floats(0.1, 300))
def test_a_lease_that_the_broker_would_not_wait_for_is_refused(
    total: float, deadline: float
) -> None:
    one = account(total_timeout_s=total, send_deadline_s=deadline)
    if 2 * one.lease_s < VISIBILITY_TIMEOUT_S:
        assert build_lines({"shop": one})["shop"].account is one
    else:
        with pytest.raises(ConfigError, match=r"accounts\.shop.*total_timeout_s"):
            build_lines({"shop": one})


@pytest.mark.parametrize(
    ("merchants", "taken"),
    [((None, None), False), (("a", None), False), ((None, "a"), False), (("a", "a"), True),
     (("a", "b"), True)],
)  # fmt: skip
def test_quickpay_accounts_at_one_address_say_whose_orders_they_share(
    merchants: tuple[str | None, str | None], taken: bool
) -> None:
    both: dict[str, Account] = {
        f"shop{number}": account(name=f"shop{number}", merchant=merchant)
        for number, merchant in enumerate(merchants)
    }
    if taken:
        lines = build_lines(both).values()
        assert len({line.provider.merchant for line in lines}) == len(set(merchants))
    else:
        with pytest.raises(ConfigError, match="merchant"):
            build_lines(both)


@given(st.lists(st.sampled_from(["a", "b", None]), min_size=3, max_size=3))
def test_three_accounts_at_one_address_all_say_it(merchants: list[str | None]) -> None:
    assume(None in merchants)
    three = {
        f"shop{number}": account(name=f"shop{number}", merchant=merchant)
        for number, merchant in enumerate(merchants)
    }
    with pytest.raises(ConfigError, match="merchant"):
        build_lines(three)
