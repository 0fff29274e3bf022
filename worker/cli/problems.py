"""Turns the errors that an operator can do something about into one clear line."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from sqlalchemy.exc import DBAPIError, OperationalError

from config.errors import BrokerNotStarted, ConfigError
from refundry import SendFailed
from worker.cli.output import EXIT_AWAY, EXIT_REFUSED, EXIT_USAGE, fail
from worker.errors import NoAnswer, NotSent, Refused, ServiceAway, WrongFile


@contextmanager
def explained() -> Iterator[None]:
    """End the process with a line and an exit code instead of a traceback."""
    try:
        yield
    except BrokerNotStarted as error:
        fail(str(error), EXIT_AWAY)
    except (ConfigError, WrongFile) as error:
        fail(str(error), EXIT_USAGE)
    except Refused as error:
        fail(str(error), EXIT_REFUSED)
    except (ServiceAway, SendFailed) as error:
        fail(str(error), EXIT_AWAY)
    except (NotSent, NoAnswer) as error:
        fail(f"the provider: {error}", EXIT_AWAY)
    except redis.RedisError as error:
        fail(f"Redis: {_first_line(error)}", EXIT_AWAY)
    except OperationalError as error:
        fail(database_problem(error), EXIT_AWAY)


def database_problem(error: DBAPIError) -> str:
    """What the database said, and what to do; never the statement with its values."""
    return f"database: {_first_line(error.orig)}; is it up, and was `refundry db upgrade` run?"


def _first_line(error: BaseException | None) -> str:
    return (str(error).splitlines() or ["no answer"])[0]
