"""Whether the parts of the service answer, and the line that says so."""

import asyncio
import http.client
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from worker.supervisor.ports import HOST

#: Between two looks at a server that is starting; none of them can tell us itself.
_LOOK_EVERY_S: Final = 0.1
#: After this long somebody should read the logs.
_COMPLAIN_EVERY_S: Final = 15.0
_PING_TIMEOUT_S: Final = 1.0
_HTTP_TIMEOUT_S: Final = 2.0

_USER_AND_PASSWORD = re.compile(r"(?<=://)([^/?#:@]*):[^/?#]*@")
_PASSWORD_OPTION = re.compile(r"(?<=password=)[^&]*")

log = structlog.get_logger(__name__)


async def until(what: str, check: Callable[[], bool]) -> None:
    """Wait, however long it takes, until ``check`` (called in a thread) says yes."""
    loop = asyncio.get_running_loop()
    complain_at = loop.time() + _COMPLAIN_EVERY_S
    while not await asyncio.to_thread(check):
        if loop.time() >= complain_at:
            log.warning("still waiting; see the log files", for_=what)
            complain_at = loop.time() + _COMPLAIN_EVERY_S
        await asyncio.sleep(_LOOK_EVERY_S)


def workers_answer(names: Sequence[str]) -> bool:
    """Whether every worker answers Celery's control ping."""
    from worker.app import app  # it reads the settings, which are complete only by now

    try:
        replies = app.control.ping(
            destination=list(names), timeout=_PING_TIMEOUT_S, limit=len(names)
        )
    except Exception as error:  # every transport has its own way to say that the broker is away
        log.debug("no answer to the ping", problem=str(error))
        return False
    answered = {name for reply in replies for name in reply}
    return answered >= set(names)


def page_answers(port: int, path: str) -> bool:
    """Whether a server on this machine answers ``GET path`` with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_HTTP_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def masked(url: str) -> str:
    """The URL with stars for its passwords."""
    return _PASSWORD_OPTION.sub("***", _USER_AND_PASSWORD.sub(r"\1:***@", url))


def ready_line(urls: dict[str, str]) -> str:
    """``ready name=url …``, the one line that says that refunds can be enqueued.

    A word that holds a space is quoted as a shell would.
    """
    words = [f"{name}={masked(url)}" for name, url in urls.items()]
    return " ".join(["ready", *(shlex.quote(word) if " " in word else word for word in words)])
