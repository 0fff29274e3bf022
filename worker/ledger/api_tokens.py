"""Queries on the gateway's tokens."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from worker.ledger.tables import api_tokens
from worker.ledger.types import insert_into


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRow:
    """One token, of which only the digest is known."""

    name: str
    digest: str
    #: The accounts that it is for; ``*`` is all of them.
    accounts: list[str]
    created_at: datetime
    revoked_at: datetime | None


def insert_token(
    connection: Connection, name: str, digest: str, accounts: list[str], now: datetime
) -> bool:
    """Note a token; False if there is, or was, one of that name."""
    written = connection.execute(
        insert_into(connection, api_tokens)
        .values(name=name, digest=digest, accounts=accounts, created_at=now)
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(api_tokens.c.name)
    )
    return written.first() is not None


def find_token(connection: Connection, digest: str) -> TokenRow | None:
    """The token of that digest, revoked or not."""
    row = connection.execute(select(api_tokens).where(api_tokens.c.digest == digest)).first()
    return TokenRow(**row._mapping) if row else None


def token_rows(connection: Connection) -> list[TokenRow]:
    """Every token, by name."""
    rows = connection.execute(select(api_tokens).order_by(api_tokens.c.name))
    return [TokenRow(**row._mapping) for row in rows]


def revoke_token(connection: Connection, name: str, now: datetime) -> bool:
    """End a token; False if there is none of that name, or it has ended."""
    done = connection.execute(
        update(api_tokens)
        .where(api_tokens.c.name == name, api_tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return done.rowcount > 0
