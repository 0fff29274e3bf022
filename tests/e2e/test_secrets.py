"""No secret and no access token gets where people, logs or other programs read."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests
from sqlalchemy import make_url, select

from tests.e2e.service import children_of, eventually
from tests.e2e.stack import PROVIDERS, Job, Stack, running
from tests.receiver import SECRET, Receiver
from tests.simulator.harness import BAOFU_KEYS, GAT_SECRET, KEY
from worker.ledger.tables import metadata
from worker.seal_keys import new_key

FLOWER_PASSWORD = "PLANTED-FLOWER-PASSWORD"
DATABASE_PASSWORD = "PLANTED-DATABASE-PASSWORD"
#: A line from the middle of the merchant's key.
PRIVATE_KEY = (BAOFU_KEYS / "merchant.pem").read_text().splitlines()[9]
#: Says who a person is; the gateway alone takes it.
PERSON = "PLANTED-RECIPIENT"
#: What that is encrypted with.
PERSONAL_KEY = new_key()
#: The secrets' own places: Valkey's file has tokens and what producers send in their messages; one
#: file has Flower's password.
OWN_PLACES = {"valkey": {"token", "person", "receiver"}, "flower_config.py": {"flower"}}
#: Ways in which something goes wrong, which is when secrets slip into messages.
_FAULTS = ("ok", "timeout_after", "bad_signature", "garbage", "http_500_before", "unknown_code")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver(statuses=[500, 302]) as one:
        yield one


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, postgres_database: str, receiver: Receiver
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "announce.secret").write_text(SECRET)
    url = make_url(postgres_database).set(password=DATABASE_PASSWORD)
    settings = (
        f'announce_hosts = ["{receiver.host}"]\nannounce_private = true\n'
        'announce_secret = "file:announce.secret"\n'
    )
    notify = {name: f'notify_url = "{{gateway}}/callbacks/{name}"\n' for name in ("hk", "bf", "ga")}
    (folder / "personal.key").write_text(PERSONAL_KEY)
    environment = {
        "REFUNDRY_FLOWER_AUTH": f"ops:{FLOWER_PASSWORD}",
        "REFUNDRY_PERSONAL_KEYS": f"file:{folder / 'personal.key'}",
    }
    url_text = url.render_as_string(hide_password=False)
    with running(folder, url_text, settings, environment, notify) as one:
        yield one


def api(stack: Stack, token: str, method: str, path: str, body: Any = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    url = stack.service.urls["gateway"] + path
    return requests.request(method, url, json=body, headers=headers, timeout=30)


def troubled(stack: Stack, receiver: Receiver) -> list[Job]:
    """Refunds of every account with every trouble, told by URL."""
    jobs = []
    for account in PROVIDERS:
        faults = (*_FAULTS, "token_refused") if account == "ga" else _FAULTS
        for number, fault in enumerate(faults):
            if account == "ga" and fault.endswith("_before"):
                continue  # it is a person's then, and never final
            job = stack.job(account, f"S{number}", 100, announce={"url": receiver.url})
            jobs.append(stack.plan(job, submit=[fault], query=["bad_signature"], notify=["twice"]))
    return jobs


def refusals(stack: Stack, token: str) -> None:
    """What is refused, by every door, with what is personal in some of it."""
    person = stack.job("ga", "P", 100, extra={"recipientName": PERSON})
    stack.produce([person, stack.job("hk", "S0", 950), stack.job("nobody", "X", 1)])
    assert api(stack, token, "POST", "/refunds", {**person, "amount": 10**9}).status_code == 422
    assert api(stack, token, "POST", "/refunds", stack.job("qp", "X", 1)).status_code == 403
    assert api(stack, token + "x", "GET", "/refunds/hk/none").status_code == 401
    body, kind = b"appid=10000001&sign=00", "application/x-www-form-urlencoded"
    for account in ("hk", "bf", "ga", "nobody"):
        url = f"{stack.service.urls['gateway']}/callbacks/{account}"
        requests.post(url, data=body, headers={"Content-Type": kind}, timeout=30)
    eventually(lambda: len(json.loads(stack.refundry("refused", "--json"))) >= 3, "all are refused")


def tokens_of(stack: Stack) -> list[str]:
    """Guanaitong's, where it is kept, and those that the simulator refuses."""
    with redis.Redis.from_url(stack.service.urls["broker"], decode_responses=True) as client:
        keys = [key for key in client.scan_iter("refundry:token:*") if client.type(key) == "hash"]
        return [str(client.hget(key, "value")) for key in keys]


def texts_of_redis(stack: Stack) -> Iterator[tuple[str, str]]:
    """Everything in Redis but the tokens: messages, bindings, locks, windows."""
    read: dict[str, Callable[[redis.Redis, str], object]] = {
        "string": lambda client, key: client.get(key),
        "list": lambda client, key: client.lrange(key, 0, -1),
        "hash": lambda client, key: client.hgetall(key),
        "set": lambda client, key: client.smembers(key),
        "zset": lambda client, key: client.zrange(key, 0, -1),
    }
    with redis.Redis.from_url(stack.service.urls["broker"], decode_responses=True) as client:
        for key in client.scan_iter():
            if not key.startswith("refundry:token:"):
                yield f"redis {key}", key + str(read[str(client.type(key))](client, key))


def texts_of_the_ledger(stack: Stack) -> Iterator[tuple[str, str]]:
    with stack.ledger.read() as connection:
        for table in metadata.sorted_tables:
            yield f"table {table.name}", str(connection.execute(select(table)).all())


def texts_of_files(stack: Stack) -> Iterator[tuple[str, str]]:
    """Logs, state, pid files, Valkey's data, and what the supervisor said."""
    files = [path for path in stack.service.home.rglob("*") if path.is_file()]
    for path in [*files, stack.service.error_file]:
        yield str(path), path.read_bytes().decode(errors="replace")


def texts_of_flower(stack: Stack) -> Iterator[tuple[str, str]]:
    pages = ("/tasks", "/workers", "/broker", "/api/tasks?limit=100000", "/api/workers")
    for page in pages:
        url = stack.service.urls["flower"] + page
        answer = requests.get(url, auth=("ops", FLOWER_PASSWORD), timeout=30)
        assert answer.status_code == 200, page
        yield f"flower {page}", answer.text
    assert requests.get(stack.service.urls["flower"] + "/api/tasks", timeout=30).status_code == 401


def texts_of_commands(stack: Stack) -> Iterator[tuple[str, str]]:
    for line in ("doctor", "accounts", "list", "export", "refused", "callbacks", "case list"):
        options = [] if line == "export" else ["--json"]
        yield f"refundry {line}", stack.refundry(*line.split(), *options)
    listed = json.loads(stack.refundry("list", "--json"))
    for number in {row["account"]: row["refund_no"] for row in listed}.values():
        yield f"refundry status {number}", stack.refundry("status", number)
        page = stack.service.home / f"{number}.html"
        stack.refundry("status", number, f"--export={page}")
        yield f"page of {number}", page.read_text(encoding="utf-8")
    for process in children_of(stack.service.home):
        yield f"command line of {process.pid}", " ".join(_command_line(process))
    yield "ready line", str(stack.service.urls)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_nothing_secret_is_in_any_log_event_page_error_or_argument(
    stack: Stack, receiver: Receiver
) -> None:
    made = stack.refundry("token", "create", "till", "--account=hk", "--account=ga", "--json")
    token = json.loads(made)["token"]
    jobs = troubled(stack, receiver)
    stack.produce(jobs)
    refusals(stack, token)
    by_http = stack.job("ga", "HTTP", 100, extra={"recipientName": PERSON})
    assert api(stack, token, "POST", "/refunds", by_http).status_code == 202
    stack.compare_with_the_book([*jobs, by_http])
    eventually(lambda: receiver.events(jobs[-1]["refund_no"])[-1:] == ["final"], "told by URL")
    (kept,) = tokens_of(stack)
    secrets = {
        "hkrt": KEY,
        "guanaitong": GAT_SECRET,
        "token": kept,
        "baofu": PRIVATE_KEY,
        "announce": SECRET.removeprefix("whsec_"),
        "flower": FLOWER_PASSWORD,
        "database": DATABASE_PASSWORD,
        "gateway": token,
        "person": PERSON,
        "personal key": PERSONAL_KEY,
        "receiver": "HUNTER2",
    }
    found = [
        (name, where)
        for texts in (
            texts_of_redis,
            texts_of_files,
            texts_of_flower,
            texts_of_commands,
            texts_of_the_ledger,
        )
        for where, text in texts(stack)
        for name, secret in secrets.items()
        if secret in text and not _is_its_own_place(name, where)
    ]
    assert found == []


def _is_its_own_place(name: str, where: str) -> bool:
    """Where a secret has to be: what is told by URL is told at that URL."""
    if name == "receiver" and where in ("table refunds", "table announcements"):
        return True
    return any(name in names and place in Path(where).parts for place, names in OWN_PLACES.items())
