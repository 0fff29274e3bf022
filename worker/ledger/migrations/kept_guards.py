"""The triggers of what is kept of exchanges with providers, and of what is done about accounts."""

from collections.abc import Iterator
from typing import Final

_SAID: Final = "what was exchanged with a provider is kept as it was"
_CHANGED: Final = " OR ".join(
    f"(OLD.{column} IS NOT NULL AND (NEW.{column} IS NULL OR NEW.{column} <> OLD.{column}))"
    for column in ("request", "answer")
)
_WHEN: Final = "BEFORE UPDATE OF request, answer ON attempts"


def create_exchange_guards(dialect: str) -> list[str]:
    """The statements that create them, for ``postgresql`` or ``sqlite``."""
    if dialect != "postgresql":
        raises = f"SELECT RAISE(ABORT, '{_SAID}'); END"
        return [f"CREATE TRIGGER attempts_keep {_WHEN} WHEN {_CHANGED} BEGIN {raises}"]
    return [
        "CREATE FUNCTION refundry_exchange_kept() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN RAISE EXCEPTION '{_SAID}'; END $$",
        f"CREATE TRIGGER attempts_keep {_WHEN} FOR EACH ROW WHEN ({_CHANGED}) "
        "EXECUTE FUNCTION refundry_exchange_kept()",
    ]


_ADDED: Final = "account_entries are only added"
#: The latest word on whether the account is paused is what its row says.
_SPOKEN: Final = (
    "(SELECT what FROM account_entries WHERE account = NEW.name AND what IN ('paused', 'resumed')"
    " ORDER BY id DESC LIMIT 1)"
    " = CASE WHEN NEW.paused_at IS NULL THEN 'resumed' ELSE 'paused' END"
)
_SILENT: Final = "an account is paused and resumed by somebody, for a reason"
_TURNED: Final = "(OLD.paused_at IS NULL) <> (NEW.paused_at IS NULL)"
_PAUSES: Final = "BEFORE UPDATE OF paused_at ON accounts"


def create_account_guards(dialect: str) -> list[str]:
    """The statements that create the triggers of what is done about accounts."""
    return list(_postgresql() if dialect == "postgresql" else _sqlite())


def _sqlite() -> Iterator[str]:
    for action in ("UPDATE", "DELETE"):
        yield (
            f"CREATE TRIGGER account_entries_no_{action.lower()} BEFORE {action} ON "
            f"account_entries BEGIN SELECT RAISE(ABORT, '{_ADDED}'); END"
        )
    yield (
        f"CREATE TRIGGER accounts_spoken_for {_PAUSES} WHEN {_TURNED} AND ({_SPOKEN}) IS NOT TRUE "
        f"BEGIN SELECT RAISE(ABORT, '{_SILENT}'); END"
    )


def _postgresql() -> Iterator[str]:
    function = "EXECUTE FUNCTION refundry_only_added()"
    yield (
        "CREATE TRIGGER account_entries_only_added BEFORE UPDATE OR DELETE ON account_entries "
        f"FOR EACH ROW {function}"
    )
    yield (
        "CREATE TRIGGER account_entries_no_truncate BEFORE TRUNCATE ON account_entries "
        f"FOR EACH STATEMENT {function}"
    )
    yield (
        "CREATE FUNCTION refundry_spoken_for() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF ({_SPOKEN}) IS NOT TRUE THEN RAISE EXCEPTION '{_SILENT}'; END IF; RETURN NEW; END $$"
    )
    yield (
        f"CREATE TRIGGER accounts_spoken_for {_PAUSES} FOR EACH ROW WHEN ({_TURNED}) "
        "EXECUTE FUNCTION refundry_spoken_for()"
    )
