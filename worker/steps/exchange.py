"""One exchange with a provider: the call is built, let in by a token where one is asked for, read.

Submissions and questions go the same way. Whatever fails before the call is posted was provably
not sent.
"""

from collections.abc import Callable
from typing import TypeVar

import structlog

from worker.errors import NotLetIn, NotSent
from worker.providers.http import Answer, Call, always
from worker.refund import Outcome, Verdict
from worker.runtime import Line, Runtime
from worker.steps.faults import fault

_log = structlog.get_logger(__name__)

Result = TypeVar("Result")


def exchange(
    runtime: Runtime,
    line: Line,
    build: Callable[[], Call],
    read: Callable[[Answer], Outcome],
    gate: Callable[[], None] = always,
) -> Outcome:
    """Post a call and read its answer.

    Args:
        runtime: what the steps are given.
        line: the account's.
        build: makes the call, as it is before a token lets it in.
        read: what the answer shows. Raises NoAnswer.
        gate: asked right before the call's first byte; it vetoes by raising.

    Raises:
        NotSent: provably nothing was sent.
        NoAnswer: it may have been sent, and there is no trustworthy answer.
    """
    provider = line.tokened
    if provider is None:
        return read(line.wire.post(_unsent(line, build), gate))
    try:
        token = _unsent(line, lambda: runtime.tokens.get(line.account, provider, line.wire))
    except NotLetIn as error:
        return Outcome(verdict=Verdict.MISCONFIGURED, code=error.code, message=str(error))
    call = _unsent(line, lambda: provider.with_token(build(), token))
    outcome = read(line.wire.post(call, gate))
    if outcome.verdict is Verdict.TOKEN:
        runtime.tokens.refused(line.account, provider, token)
    return outcome


def _unsent(line: Line, step: Callable[[], Result]) -> Result:
    """What comes before sending; whatever fails here, nothing was sent."""
    try:
        return step()
    except NotSent:
        raise
    except Exception as error:
        _log.error("exchange.call_not_built", account=line.account.name, **fault(error))
        raise NotSent(f"the call could not be built: {type(error).__name__}") from error
