"""A whole installation of a test's own: simulator, accounts, service, and producer processes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
from sqlalchemy import text

from tests.databases import opened
from tests.e2e.service import Service, eventually
from tests.simulator.harness import APPID, BAOFU_KEYS, GAT_SECRET, KEY, Sim
from worker.ledger import reports
from worker.ledger.engine import Ledger
from worker.ledger.reports import ExportRow
from worker.seal_keys import new_key
from worker.supervisor.ports import find_free_port

ROOT = Path(__file__).parents[2]
#: Shortened on purpose: a demonstration's waits, so that a lease is 25.5 s instead of 45 s.
TIMES = """
time_scale = 0.01
connect_timeout_s = 1
read_timeout_s = 4
total_timeout_s = 4.5
send_deadline_s = 1
provider_delay_s = 50
not_found_over_s = 50
poll_schedule_s = [50]
"""
#: An account of every provider.
ACCOUNTS = {
    "qp": """provider = "quickpay"
base_url = "{sim}/qp"
store_no = "S1"
operator = "ops"
""",
    "hk": """provider = "hkrt"
base_url = "{sim}/hk"
access_id = "cpostest"
access_key = "file:hkrt.key"
""",
    "bf": """provider = "baofu"
base_url = "{sim}/bf/api"
mer_id = "100000"
ter_id = "100001"
private_key = "file:merchant.pem"
provider_public_key = "file:baofu.pub.pem"
""",
    "ga": f"""provider = "guanaitong"
base_url = "{{sim}}/gat"
appid = "{APPID}"
appsecret = "file:guanaitong.key"
""",
}
#: The same for every refund of an order.
PAID_AT = datetime.now(UTC) - timedelta(days=1)
FINAL = {"succeeded", "failed", "canceled"}
PROVIDERS = {"qp": "quickpay", "hk": "hkrt", "bf": "baofu", "ga": "guanaitong"}
#: What an account's numbers have to begin with.
BEGINNINGS = {"ga": APPID}
#: Accounts whose provider does not deduplicate, so that what it never saw is left to a person.
NOT_SENT_AGAIN = {"ga"}
_NUMBERS = count(1)

Job = dict[str, Any]


@dataclass
class Stack:
    """What a test works with."""

    sim: Sim
    service: Service
    ledger: Ledger

    def job(self, account: str, order_no: str, amount: int, **more: Any) -> Job:
        """A refund with a number of its own."""
        begins = BEGINNINGS.get(account, "")
        refund_no = f"{begins}{account}REFUND{next(_NUMBERS):08d}"
        known = {"account": account, "order_no": begins + order_no, "refund_no": refund_no}
        known |= {"reason": "returned", "paid_at": PAID_AT.isoformat()}
        return {**known, "amount": amount, "order_amount": 1000} | more

    def plan(self, job: Job, **plan: Any) -> Job:
        """Tell the simulator what shall become of the refund."""
        self.sim.plan(PROVIDERS[job["account"]], job["refund_no"], **plan)
        return job

    def produce(self, jobs: list[Job]) -> None:
        """Enqueue from a process of its own that has the client only."""
        lines = "".join(json.dumps(job) + "\n" for job in jobs)
        command = [sys.executable, str(ROOT / "examples/producer.py"), self.service.urls["broker"]]
        done = subprocess.run(
            command, input=lines, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    def refundry(self, *arguments: str, code: int = 0) -> str:
        """Run a command of the installation; its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli", *arguments],
            env=self.service.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode} {done.stderr}{done.stdout}"
        return done.stdout

    def rows(self) -> dict[str, ExportRow]:
        """Every refund in the ledger, by its number; a look, where a command would take seconds."""
        return {row.refund_no: row for row in reports.export_rows(self.ledger)}

    def seen(self, kind: str) -> list[str]:
        """The refunds that have an event of the kind."""
        sql = (
            "SELECT refund_no FROM refunds JOIN events ON refund_id = refunds.id WHERE kind = :kind"
        )
        with self.ledger.read() as connection:
            return list(connection.execute(text(sql), {"kind": kind}).scalars())

    def book(self) -> dict[str, Any]:
        """What the providers know of every refund, by its number."""
        return {entry["refund"]: entry for entry in self.sim.book()}

    def exported(self) -> dict[str, Any]:
        """Every refund as ``refundry export`` prints it, by its number."""
        rows = map(json.loads, self.refundry("export").splitlines())
        return {row["refund_no"]: row for row in rows}

    def await_states(self, jobs: list[Job], states: set[str]) -> dict[str, Any]:
        """Wait until every one of the jobs is in one of the states."""
        numbers = [job["refund_no"] for job in jobs]
        seen: dict[str, Any] = {}

        def reached() -> bool:
            seen.update({number: asdict(row) for number, row in self.rows().items()})
            return all(seen.get(number, {}).get("state") in states for number in numbers)

        def others() -> list[Any]:
            return [one for one in map(seen.get, numbers) if not one or one["state"] not in states]

        eventually(reached, f"all in {states}, but", others)
        return {number: seen[number] for number in numbers}

    def compare_with_the_book(self, jobs: list[Job]) -> None:
        """Every refund ends as the provider's book says, executed at most once."""
        self.await_states(jobs, FINAL)
        ledger = self.exported()
        book = {(entry["provider"], entry["refund"]): entry for entry in self.sim.book()}
        for job in jobs:
            ours = ledger[job["refund_no"]]
            theirs = book[PROVIDERS[job["account"]], job["refund_no"]]
            assert ours["state"] == theirs["state"], (ours, theirs)
            assert ours["amount"] == theirs["amount"]
            assert theirs["executions"] == (theirs["state"] == "succeeded"), theirs
        self.refundry("audit")

    def compare_what_was_interrupted(self, jobs: list[Job]) -> None:
        """As the book says; and what may never have been sent is a person's, where it has to be."""
        self.compare_with_the_book([job for job in jobs if job["account"] not in NOT_SENT_AGAIN])
        left = [job["refund_no"] for job in jobs if job["account"] in NOT_SENT_AGAIN]
        eventually(lambda: self._are_over(left), "all are final or a person's", self.rows)
        rows, book = self.rows(), self.book()
        for ours in (rows[number] for number in left):
            theirs = book.get(ours.refund_no)
            if theirs is None:
                assert ours.state in ("unknown", "queued"), ours
                continue
            mine = (ours.state, ours.order_no, ours.amount)
            assert mine == (theirs["state"], theirs["order"], theirs["amount"]), (ours, theirs)
            assert ours.provider_refund_no in (None, theirs["provider_refund_no"]), (ours, theirs)
            assert (theirs["submits"], theirs["executions"]) == (1, 1), theirs

    def _are_over(self, numbers: list[str]) -> bool:
        """Final; or its provider never saw it, and it is a person's or waits behind such a one."""
        rows, book = self.rows(), self.book()
        owned = {row.order_no for row in rows.values() if row.case}
        return all(
            number in rows
            and (
                rows[number].state in FINAL
                or (number not in book and rows[number].order_no in owned)
            )
            for number in numbers
        )

    def compare_with_nothing(self, jobs: list[Job]) -> None:
        """The provider never saw these and is not sent them again: each is a person's."""
        for job in jobs:
            number = job["refund_no"]
            eventually(partial(self._is_left_to_a_person, number), f"{number} has a case")
            assert self.sim.book(refund=number) == []
            assert len(self.sim.log(event="submit_in", refund=number)) == 1
        self.refundry("audit")

    def _is_left_to_a_person(self, refund_no: str) -> bool:
        row = self.rows()[refund_no]
        return (row.state, row.case) == ("unknown", "not_resendable")

    def overlaps(self) -> list[Any]:
        """Submissions that came while another refund of their order was under way."""
        return [event for event in self.sim.log(event="submit_in") if event["overlap"]]

    def worker_pids(self) -> list[int]:
        return [self.service.pid_of("worker-1"), self.service.pid_of("worker-2")]

    def kill_workers(self) -> None:
        """SIGKILL, at once, to both worker processes."""
        for pid in self.worker_pids():
            psutil.Process(pid).kill()


@contextmanager
def running(
    folder: Path,
    database_url: str,
    settings: str = "",
    environment: Mapping[str, str] = MappingProxyType({}),
    own: Mapping[str, str] = MappingProxyType({}),
    seed: int = 7,
    through: Callable[[str], str] = str,
) -> Iterator[Stack]:
    """A simulator and a ready ``refundry up`` with two worker processes.

    Args:
        folder: for all that they keep.
        database_url: of the ledger.
        settings: lines that every account has beside its own.
        environment: further variables of the service.
        own: lines that one account has; ``{gateway}`` is the gateway's URL.
        seed: of the simulator's draws.
        through: the URL at which the workers find the simulator, from its own.
    """
    sim, port = Sim(folder / "sim", seed), find_free_port()
    gateway = f"http://127.0.0.1:{port}"
    write_secrets(folder)
    tables = {
        name: f"[accounts.{name}]\n{text}{TIMES}{settings}{own.get(name, '')}\n"
        for name, text in ACCOUNTS.items()
    }
    text = "".join(tables.values())
    (folder / "accounts.toml").write_text(text.format(sim=through(sim.url), gateway=gateway))
    variables = {
        "REFUNDRY_PERSONAL_KEYS": new_key(),
        **environment,
        "REFUNDRY_ACCOUNTS": str(folder / "accounts.toml"),
        "REFUNDRY_DATABASE_URL": database_url,
        "REFUNDRY_GATEWAY_PORT": str(port),
        "REFUNDRY_GATEWAY_RATE_LIMIT": "100000/minute",  # tests ask until all is final
    }
    try:
        with (
            Service(folder / "home", "--workers=2", **variables) as service,
            opened(database_url) as ledger,
        ):
            yield Stack(sim=sim, service=service, ledger=ledger)
    finally:
        assert sim.stop() == 0


def write_secrets(folder: Path) -> None:
    """The files that the accounts' secrets stand in."""
    (folder / "hkrt.key").write_text(KEY)
    (folder / "guanaitong.key").write_text(GAT_SECRET)
    for name in ("merchant.pem", "baofu.pub.pem"):
        shutil.copy(BAOFU_KEYS / name, folder)
