"""A whole installation of a test's own: simulator, accounts, service, and producer processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.service import Service, eventually
from tests.simulator.harness import APPID, BAOFU_KEYS, GAT_SECRET, KEY, Sim
from worker.ledger import reports
from worker.ledger.engine import Ledger, create_ledger_engine

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
        assert done.returncode == code, f"{arguments}: {done.returncode} {done.stderr}"
        return done.stdout

    def exported(self) -> dict[str, Any]:
        """Every refund that the ledger knows, by its number."""
        rows = map(json.loads, self.refundry("export").splitlines())
        return {row["refund_no"]: row for row in rows}

    def await_states(self, jobs: list[Job], states: set[str]) -> dict[str, Any]:
        """Wait until every one of the jobs is in one of the states."""
        numbers = [job["refund_no"] for job in jobs]
        seen: dict[str, Any] = {}

        def reached() -> bool:
            with self.ledger.read() as connection:
                rows = list(reports.export_rows(connection))
            seen.update({row.refund_no: asdict(row) for row in rows})
            return all(seen.get(number, {}).get("state") in states for number in numbers)

        eventually(reached, f"{numbers} in {states}")
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

    def compare_with_nothing(self, jobs: list[Job]) -> None:
        """The provider never saw these and is not sent them again: each is a person's."""
        for job in jobs:
            number = job["refund_no"]
            eventually(partial(self._is_left_to_a_person, number), f"{number} has a case")
            assert self.sim.book(refund=number) == []
            assert len(self.sim.log(event="submit_in", refund=number)) == 1
        self.refundry("audit")

    def _is_left_to_a_person(self, refund_no: str) -> bool:
        row = self.exported()[refund_no]
        return (row["state"], row["case"]) == ("unknown", "not_resendable")

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
def running(folder: Path, database_url: str, settings: str = "") -> Iterator[Stack]:
    """A simulator and a ready ``refundry up`` with two worker processes.

    Args:
        folder: for all that they keep.
        database_url: of the ledger.
        settings: lines that every account has beside its own.
    """
    sim = Sim(folder / "sim")
    times = TIMES + settings
    accounts = folder / "accounts.toml"
    (folder / "hkrt.key").write_text(KEY)
    (folder / "guanaitong.key").write_text(GAT_SECRET)
    accounts.write_text(
        f'[accounts.qp]\nprovider = "quickpay"\nbase_url = "{sim.url}/qp"\n'
        f'store_no = "S1"\noperator = "ops"\n{times}\n'
        f'[accounts.hk]\nprovider = "hkrt"\nbase_url = "{sim.url}/hk"\n'
        f'access_id = "cpostest"\naccess_key = "file:hkrt.key"\n{times}\n'
        f'[accounts.bf]\nprovider = "baofu"\nbase_url = "{sim.url}/bf/api"\n'
        f'mer_id = "100000"\nter_id = "100001"\n'
        f'private_key = "file:{BAOFU_KEYS / "merchant.pem"}"\n'
        f'provider_public_key = "file:{BAOFU_KEYS / "baofu.pub.pem"}"\n{times}\n'
        f'[accounts.ga]\nprovider = "guanaitong"\nbase_url = "{sim.url}/gat"\n'
        f'appid = "{APPID}"\nappsecret = "file:guanaitong.key"\n{times}\n'
    )
    environment = {"REFUNDRY_ACCOUNTS": str(accounts), "REFUNDRY_DATABASE_URL": database_url}
    try:
        with Service(folder / "home", "--workers=2", **environment) as service:
            engine = create_ledger_engine(database_url)
            yield Stack(sim=sim, service=service, ledger=Ledger(engine))
            engine.dispose()
    finally:
        assert sim.stop() == 0
