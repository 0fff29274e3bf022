"""The supervisor: brings everything up in order, says when it is ready, takes it down in order."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from config.accounts import load_accounts
from config.settings import Settings
from worker.errors import ServiceAway
from worker.ledger.migrate import upgrade
from worker.runtime import build_lines
from worker.supervisor import embedded, programs, simulated
from worker.supervisor.home import Home, write_private
from worker.supervisor.program import Child, Program
from worker.supervisor.readiness import (
    masked,
    page_answers,
    ready_line,
    until,
    workers_answer,
)

#: Flower only watches: refunds do not wait for it longer than this.
_FLOWER_PATIENCE_S: Final = 20.0
#: What is stopped first stands first: workers need the broker until they are gone.
_STOP_ORDER: Final = ("gateway", "workers", "watchers", "simulator", "broker")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What ``refundry up`` was asked for."""

    workers: int
    demo: bool = False
    #: Stop when standard input ends, that is, when the starting process is gone.
    until_stdin_closes: bool = False


class Supervisor:
    """One run of the service in one home folder, whose lock the caller holds."""

    def __init__(self, settings: Settings, options: Options, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._options = options
        self._say = say
        self._home = Home(root=settings.home)
        self._stop = asyncio.Event()
        self._children: dict[str, list[Child]] = {rank: [] for rank in _STOP_ORDER}
        self._urls: dict[str, str] = {}

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or the end of standard input.

        Raises:
            ConfigError: a setting is wrong.
            ServiceAway: a broker or database that somebody else runs does not answer.
        """
        self._listen_for_the_end()
        start = asyncio.create_task(self._bring_up())
        asked = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({start, asked}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                await start
                await asked
        finally:
            await self._take_down(start)

    def _listen_for_the_end(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                loop.add_signal_handler(number, self._stop.set)
        if self._options.until_stdin_closes:
            self._stdin_watch = asyncio.create_task(self._stop_at_end_of_input())

    async def _stop_at_end_of_input(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        await reader.read()
        self._stop.set()

    async def _bring_up(self) -> None:
        self._home.ready_note.unlink(missing_ok=True)
        for name in await asyncio.to_thread(embedded.end_what_was_left, self._home):
            log.warning("ended what an earlier supervisor left", process=name)
        await self._start_broker()
        self._urls["gateway"] = programs.gateway_url(self._home, self._settings)
        accounts = await self._find_accounts()
        lines = build_lines(load_accounts(accounts))
        if not lines:
            log.warning("no accounts: every refund will be refused", file=str(accounts.absolute()))
        grace_s = programs.worker_grace_s(line.account for line in lines.values())
        environment = self._make_explicit(accounts)
        await asyncio.to_thread(upgrade, environment["REFUNDRY_DATABASE_URL"])
        environment = {**os.environ, **environment}
        self._start("gateway", programs.gateway_program(self._urls["gateway"], environment))
        await self._start_celery(environment, grace_s)
        await self._wait_for_gateway()
        line = ready_line({**self._urls, "home": str(self._home.root)})
        write_private(self._home.ready_note, f"{line}\n")
        self._say(line)

    async def _start_broker(self) -> None:
        if self._settings.embeds_broker:
            program, url = embedded.valkey_program(self._home, os.environ)
            embedded.note_broker(self._home, url)
            self._start("broker", program)
            await until("valkey", lambda: embedded.answers(url))
        for url in {self._settings.broker(), self._settings.redis()}:
            await self._check_redis(url)

    async def _check_redis(self, url: str) -> None:
        if not url.startswith(("redis://", "rediss://", "unix://")):
            return  # another kind of broker: the workers' answer shows it
        if not await asyncio.to_thread(embedded.answers, url):
            raise ServiceAway(f"the Redis at {masked(url)} does not answer PING")

    async def _find_accounts(self) -> Path:
        if self._options.demo:
            return await self._start_simulator()
        return self._settings.accounts_file()

    async def _start_simulator(self) -> Path:
        program, url = simulated.simulator_program(self._home, os.environ)
        self._start("simulator", program)
        port = int(url.rpartition(":")[2])
        await until("simulator", lambda: page_answers(port, "/_sim/health"))
        self._urls["simulator"] = url
        return simulated.write_accounts(self._home, url, self._urls["gateway"])

    def _make_explicit(self, accounts: Path) -> dict[str, str]:
        """Fix every default, for the children and for what this process imports later."""
        environment = programs.explicit_environment(self._settings, accounts)
        os.environ.update(environment)
        self._urls = {
            "broker": environment["REFUNDRY_BROKER_URL"],
            "database": environment["REFUNDRY_DATABASE_URL"],
            **self._urls,
        }
        return environment

    async def _start_celery(self, environment: Mapping[str, str], grace_s: float) -> None:
        names = programs.worker_names(self._home, self._options.workers)
        for program in programs.worker_programs(names, grace_s, environment):
            self._start("workers", program)
        self._start("watchers", programs.beat_program(environment))
        program, url = programs.flower_program(self._home, self._settings, environment)
        self._start("watchers", program)
        self._urls["flower"] = url
        await until("workers", lambda: workers_answer(names))
        await self._wait_for_flower(int(url.rpartition(":")[2]))

    async def _wait_for_gateway(self) -> None:
        port = int(self._urls["gateway"].rpartition(":")[2])
        await until("gateway", lambda: page_answers(port, "/ready"))

    async def _wait_for_flower(self, port: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLOWER_PATIENCE_S):
                await until("flower", lambda: page_answers(port, "/healthcheck"))

    def _start(self, rank: str, program: Program) -> None:
        child = Child(program, self._home)
        self._children[rank].append(child)
        child.start()

    async def _take_down(self, start: asyncio.Task[None]) -> None:
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        self._home.ready_note.unlink(missing_ok=True)
        for rank in _STOP_ORDER:
            await asyncio.gather(*(child.stop() for child in self._children[rank]))
