"""``python -m gateway [--host 127.0.0.1] [--port N]``."""

import argparse
import signal
from collections.abc import Sequence
from typing import Final, NoReturn

import structlog
import uvicorn

from config.logs import configure_logging
from config.settings import Settings, load_settings
from gateway.app import make_app
from gateway.bell import Bell
from gateway.protocol import PatientProtocol
from gateway.rates import Rates
from gateway.service import Service
from worker.cli.problems import explained
from worker.errors import ServiceAway
from worker.runtime import get_runtime

_log = structlog.get_logger(__name__)

_HOST: Final = "127.0.0.1"
#: Where ``REFUNDRY_GATEWAY_PORT`` says nothing.
_PORT: Final = 8080
#: A client that pauses longer connects anew.
_KEEP_ALIVE_S: Final = 5
#: A request takes as long as its body and a transaction.
_STOP_WITHIN_S: Final = 15
#: How long ``/ready`` waits for a broker that is no Redis.
_BROKER_TIMEOUT_S: Final = 2.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure_logging()
    with explained():
        settings = load_settings()
        options = _parser(settings).parse_args(arguments)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)  # uvicorn raises it again once it has stopped
        _server(settings, options.host, options.port).run()


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gateway", description="Refundry by HTTP.")
    parser.add_argument("--host", default=_HOST, help="address to listen on")
    parser.add_argument("--port", type=int, default=settings.gateway_port or _PORT)
    return parser


def _end(*_: object) -> NoReturn:
    raise SystemExit(0)


def _server(settings: Settings, host: str, port: int) -> uvicorn.Server:
    """Settings and accounts that are wrong end the process here; a ledger may come later.

    Raises:
        ConfigError: naming what is wrong.
    """
    try:
        get_runtime()
    except ServiceAway as error:
        _log.warning("gateway.ledger_away", error=str(error))
    config = uvicorn.Config(
        make_app(_service(settings)),
        host=host,
        port=port,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_WITHIN_S,
    )
    return uvicorn.Server(config)


def _service(settings: Settings) -> Service:
    from worker.wake import wake  # it needs the broker's URL, which is certain only here

    rates = Rates(settings.redis(), settings.gateway_rate_limit)
    if settings.broker() == settings.redis():
        broker_answers = rates.redis_answers
    else:
        broker_answers = _broker_answers
    return Service(
        get_runtime=get_runtime, rates=rates, bell=Bell(wake), broker_answers=broker_answers
    )


def _broker_answers() -> bool:
    from worker.app import app

    try:
        with app.connection_for_write(connect_timeout=_BROKER_TIMEOUT_S) as connection:
            connection.ensure_connection(max_retries=1, timeout=_BROKER_TIMEOUT_S)
    except Exception:  # every transport has its own way to say that the broker is away
        return False
    return True


if __name__ == "__main__":
    main()
