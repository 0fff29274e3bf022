"""The gateway's tokens: made, recognised, revoked.

A token is 256 random bits, so that a plain SHA-256 keeps it at rest: there is nothing to guess
that a slow hash would make slower.
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from worker.errors import Refused
from worker.ledger import api_tokens
from worker.ledger.engine import Ledger

#: Stands for every account.
ALL: Final = "*"
#: Lets people and scanners of leaked secrets see what it is.
PREFIX: Final = "refundry_"
_NAME: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_RANDOM_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who speaks to the gateway."""

    #: The token's name.
    name: str
    accounts: frozenset[str]

    def may_use(self, account: str) -> bool:
        """Whether the token is for this account."""
        return ALL in self.accounts or account in self.accounts


def create_token(ledger: Ledger, name: str, accounts: Sequence[str], known: Collection[str]) -> str:
    """Make a token for some of the known accounts, or ``*``; it can be shown only now.

    Raises:
        Refused: a name that was used, or an account that there is not.
        ServiceAway: the ledger does not answer.
    """
    if not _NAME.fullmatch(name):
        raise Refused("invalid", f"name {name!r:.80}: up to 64 letters, digits, dots, - and _")
    for account in accounts:
        if account != ALL and account not in known:
            there = ", ".join(sorted(known)) or "none"
            raise Refused("unknown_account", f"account {account!r} is not one of: {there}")
    token = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    with ledger.write() as connection:
        scope = sorted(set(accounts))
        now = ledger.now(connection)
        if not api_tokens.insert_token(connection, name, _digest(token), scope, now):
            raise Refused("name_used", f"there is or was a token {name!r}; take another name")
    return token


def recognise(ledger: Ledger, token: str) -> Caller | None:
    """Whose token it is; None for one that is unknown or revoked.

    Raises:
        ServiceAway: the ledger does not answer.
    """
    digest = _digest(token)
    with ledger.read() as connection:
        row = api_tokens.find_token(connection, digest)
    if row is None or row.revoked_at is not None:
        return None
    if not secrets.compare_digest(row.digest, digest):
        return None
    return Caller(name=row.name, accounts=frozenset(row.accounts))


def revoke(ledger: Ledger, name: str) -> None:
    """End a token; the next request with it is refused.

    Raises:
        Refused: there is none of that name, or it was revoked before.
        ServiceAway: the ledger does not answer.
    """
    with ledger.write() as connection:
        if not api_tokens.revoke_token(connection, name, ledger.now(connection)):
            raise Refused("not_found", f"there is no token {name!r}, or it is revoked already")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
