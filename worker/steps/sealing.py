"""Sealing: personal data is taken out of a job before the ledger sees it, and opened to be sent.

Who takes a job in can seal; who sends it, right before it does, opens. Nobody else reads it.
"""

import hmac
from typing import Any, Final

from sqlalchemy import Connection

from refundry import RefundRequest
from worker.errors import CannotOpen, Conflict, Refused
from worker.ledger.personal_data import kept_of, sealed_of
from worker.ledger.rows import Refund, UsedNumber
from worker.personal import SEALED_NAMES, personal_in
from worker.runtime import Line, Runtime
from worker.seals import Sealed, Seals
from worker.steps.intake_rows import fingerprint

#: A job that brings personal data, or repeats one that did, and the keys are not there.
NO_KEY: Final = "personal_key"


def taken_apart(
    runtime: Runtime, line: Line, request: RefundRequest
) -> tuple[RefundRequest, Sealed | None]:
    """A request without what it says of a person, and that under seal.

    Raises:
        Refused: there is no key to seal it with, or it stands where it cannot be told apart.
    """
    given = {
        name: value
        for name, value in request.extra.items()
        if name in line.personal and value is not None
    }
    rest = {name: value for name, value in request.extra.items() if name not in given}
    hidden = personal_in([rest, request.items], line.personal)
    if hidden:
        said = f"extra: {', '.join(sorted(hidden))} must stand in extra itself"
        raise Refused("invalid", said, [said])
    if not given:
        return request, None
    name = named(line.provider.merchant, request.refund_no)
    try:
        sealed = runtime.seals.seal(name, given, fingerprint(request))
    except CannotOpen as error:
        fields = ", ".join(sorted(given))
        raise Refused(
            NO_KEY, f"{fields}: personal data is kept encrypted only, and {error}; set it"
        ) from None
    return request.model_copy(update={"extra": rest}), sealed


def refuse_other(
    connection: Connection, found: UsedNumber, request: RefundRequest, sealed: Sealed | None
) -> None:
    """Refuse a job that repeats the number of a refund, and not its content.

    Of data that was purged, or sealed before it was taken apart, as much as is still known counts.

    Raises:
        Conflict: it carries other content.
        Refused: whether it does cannot be told without a key that is missing.
    """
    if sealed is not None and hmac.compare_digest(found.fingerprint, sealed.former):
        return
    names = list(sealed.names) if sealed else []
    same = hmac.compare_digest(found.fingerprint, fingerprint(request))
    same = same and found.request.get(SEALED_NAMES, []) == names
    if same and (sealed is None or _is_same(connection, found, sealed)):
        return
    raise Conflict(
        "number_used",
        f"refund_no {request.refund_no!r} stands for another refund of {found.amount} fen; "
        "a used number always carries the same content, take a new one",
    )


def _is_same(connection: Connection, found: UsedNumber, sealed: Sealed) -> bool:
    kept = kept_of(connection, found.id)
    if kept is None or kept.key_id is None or kept.digest is None:
        return True
    if kept.key_id not in sealed.digests:
        raise Refused(
            NO_KEY,
            f"refund_no {found.refund_no!r} is there, and its personal data is sealed with the key "
            f"{kept.key_id}, which is not in REFUNDRY_PERSONAL_KEYS: put it back",
        )
    return hmac.compare_digest(kept.digest, sealed.digests[kept.key_id])


def as_kept(sealed: Sealed) -> dict[str, Any]:
    """The columns that keep it."""
    return {"key_id": sealed.key_id, "sealed": sealed.token, "digest": sealed.digest}


def opened(connection: Connection, seals: Seals, refund: Refund) -> dict[str, Any]:
    """What is to be sent of a person; nothing where the refund says nothing of one.

    Raises:
        CannotOpen: it cannot be read; nothing can be sent.
    """
    if not refund.request.get(SEALED_NAMES):
        return {}
    found = sealed_of(connection, refund.id)
    if found is None:
        raise CannotOpen("it was purged")
    return seals.open(named(refund.merchant, refund.refund_no), *found)


def name_of(refund: Refund) -> str:
    """What a refund's data is bound to."""
    return named(refund.merchant, refund.refund_no)


def named(merchant: str, refund_no: str) -> str:
    """The same of a refund of that merchant and number."""
    return f"{merchant}/{refund_no}"
