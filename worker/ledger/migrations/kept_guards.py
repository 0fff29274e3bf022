"""The triggers of what is kept of exchanges with providers: it never changes."""

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
