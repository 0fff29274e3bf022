"""One exchange with a provider: the call is built, let in by a token where one is asked for, read.

Submissions and questions go the same way. Whatever fails before the call is posted was provably
not sent; from then on there is an outcome, with what was sent and what came back beside it.
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import TypeVar

import structlog

from worker.errors import NoAnswer, NotLetIn, NotSent
from worker.evidence import Masks, kept_answer, kept_call
from worker.providers.http import Answer, Call, always
from worker.refund import Exchange, Outcome, Verdict
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
    """Post a call and read its answer; without a trustworthy one the outcome is unknown.

    Args:
        runtime: what the steps are given.
        line: the account's.
        build: makes the call, as it is before a token lets it in.
        read: what the answer shows. Raises NoAnswer.
        gate: asked right before the call's first byte; it vetoes by raising.

    Raises:
        NotSent: provably nothing was sent.
    """
    provider = line.tokened
    if provider is None:
        return _post(line, _unsent(line, build), read, gate, line.masks)
    try:
        token = _unsent(line, lambda: runtime.tokens.get(line.account, provider, line.wire))
    except NotLetIn as error:
        return Outcome(verdict=Verdict.MISCONFIGURED, code=error.code, message=str(error))
    call = _unsent(line, lambda: provider.with_token(build(), token))
    by = replace(line.masks, secrets=line.masks.secrets | {token})
    outcome = _post(line, call, read, gate, by)
    if outcome.verdict is Verdict.TOKEN:
        runtime.tokens.refused(line.account, provider, token)
        return replace(outcome, message=f"token {_mark(token)}: {outcome.message}")
    return outcome


def _mark(token: str) -> str:
    """Tells a token from another one, and nothing of it."""
    return sha256(token.encode()).hexdigest()[:8]


def mark_in(message: str) -> str:
    """Which token a refusal's message is about."""
    return message.partition(":")[0]


def _unsent(line: Line, step: Callable[[], Result]) -> Result:
    """What comes before sending; whatever fails here, nothing was sent."""
    try:
        return step()
    except NotSent:
        raise
    except Exception as error:
        _log.error("exchange.call_not_built", account=line.account.name, **fault(error))
        raise NotSent(f"the call could not be built: {type(error).__name__}") from error


def _post(
    line: Line,
    call: Call,
    read: Callable[[Answer], Outcome],
    gate: Callable[[], None],
    by: Masks,
) -> Outcome:
    """From here on something may have been sent, and whatever came back is kept."""
    answer: Answer | None = None
    try:
        answer = line.wire.post(call, gate)
        outcome = read(answer)
    except NoAnswer as error:
        outcome = _unanswered("no_answer", str(error))
    except Exception as error:
        if isinstance(error, NotSent) and answer is None:
            raise
        _log.error("exchange.fault", account=line.account.name, **fault(error))
        outcome = _unanswered("fault", type(error).__name__)
    return replace(outcome, exchange=_kept(line, call, answer, by))


def _unanswered(code: str, message: str) -> Outcome:
    return Outcome(verdict=Verdict.UNKNOWN, code=code, message=message, unanswered=True)


def _kept(line: Line, call: Call, answer: Answer | None, by: Masks) -> Exchange | None:
    """What cannot be kept costs no outcome."""
    try:
        said = None if answer is None else kept_answer(answer, by)
        return Exchange(request=kept_call(call, by), answer=said)
    except Exception as error:
        _log.error("exchange.not_kept", account=line.account.name, **fault(error))
        return None
