"""Keeping: personal data is purged in time, sealed with the newest key, and none stays in clear.

Everything in bounded batches, safe to run twice, at once, and to be killed anywhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog

from worker.errors import CannotOpen, Refused
from worker.ledger import personal_data
from worker.ledger.journal import append_event
from worker.ledger.refunds import update_refund
from worker.personal import SEALED_NAMES
from worker.refund import SEALED, request_digest
from worker.runtime import Line, Runtime
from worker.steps.scene import Scene, lock_scene
from worker.steps.sealing import as_kept, name_of, named

_log = structlog.get_logger(__name__)

#: Refunds that one transaction takes.
BATCH: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Tidied:
    """What was done in one go."""

    purged: int
    #: Of what a former key had sealed.
    sealed_anew: int


def tidy(runtime: Runtime) -> Tidied:
    """Purge what is due and seal anew what a former key has sealed, a batch of each.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    return Tidied(purged=purge(runtime, runtime.personal_for), sealed_anew=seal_anew(runtime))


def purge(runtime: Runtime, kept_for: timedelta, limit: int = BATCH) -> int:
    """Forget the personal data of refunds that have been final for so long; of how many.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    with runtime.ledger.write() as connection:
        now = runtime.ledger.now(connection)
        return personal_data.purge(connection, now - kept_for, now, limit)


def seal_anew(runtime: Runtime, limit: int = BATCH) -> int:
    """Seal with the newest key what another one that is here has sealed; how many.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    seals, sealed = runtime.seals, 0
    if not seals.former:
        return 0
    with runtime.ledger.write() as connection:
        found = personal_data.lock_former(connection, seals.former, limit)
        for refund_id, merchant, refund_no, key_id, token in found:
            name = named(merchant, refund_no)
            try:
                again = seals.seal(name, seals.open(name, key_id, token))
            except CannotOpen as error:
                _log.error("keeping.not_sealed_anew", refund_no=refund_no, why=str(error))
                continue
            personal_data.seal_anew(connection, refund_id, as_kept(again))
            sealed += 1
    return sealed


def in_clear(runtime: Runtime, limit: int = BATCH) -> Iterator[tuple[Line, list[int]]]:
    """Refunds whose request has personal data in clear, from before it was sealed; in batches.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    for name, line in runtime.lines.items():
        after = 0
        while line.personal:
            with runtime.ledger.read() as connection:
                found = personal_data.refunds_in_clear(
                    connection, name, line.personal, after, limit
                )
            if not found:
                break
            yield line, found
            after = found[-1]


def seal_clear(runtime: Runtime, told: Callable[[int], None] = lambda _: None) -> int:
    """Seal what stands in requests in clear; how many. ``told`` hears how many so far.

    Raises:
        Refused: there is no key to seal it with.
        ServiceAway: the ledger does not answer; what was sealed is.
    """
    sealed = 0
    for line, ids in in_clear(runtime):
        if runtime.seals.newest is None:
            raise Refused("personal_key", "REFUNDRY_PERSONAL_KEYS is not set; set it first")
        for refund_id in ids:
            sealed += _seal_one(runtime, line, refund_id)
        told(sealed)
    return sealed


def _seal_one(runtime: Runtime, line: Line, refund_id: int) -> bool:
    with runtime.ledger.write() as connection:
        scene = lock_scene(connection, runtime.ledger, line, refund_id)
        extra: dict[str, Any] = scene.refund.request["extra"]
        given = {name: extra[name] for name in line.personal if extra.get(name) is not None}
        if not given:
            return False
        sealed = runtime.seals.seal(name_of(scene.refund), given)
        rest = {name: value for name, value in extra.items() if name not in given}
        request = scene.refund.request | {"extra": rest, SEALED_NAMES: list(sealed.names)}
        personal_data.keep_sealed(connection, refund_id, as_kept(sealed), scene.refund.accepted_at)
        _write(scene, request)
    return True


def _write(scene: Scene, request: dict[str, Any]) -> None:
    """The request, and the event by which an audit knows that it is the one that was accepted."""
    refund, standing = scene.refund, scene.refund.standing
    seq = refund.event_seq + 1
    detail = {
        "from": refund.state.value,
        "holds": standing.holds,
        "sent": standing.sent,
        "open_sent": standing.open_sent,
        "request": request_digest(request),
    }
    update_refund(scene.connection, refund.id, {"request": request, "event_seq": seq})
    append_event(
        scene.connection,
        refund.id,
        seq,
        refund.state,
        SEALED,
        standing.attempt,
        detail,
        scene.now,
    )
