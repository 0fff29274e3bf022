"""Who acts, and why: nothing is done by hand without a name and a reason."""

import unicodedata
from dataclasses import dataclass
from typing import Any, Final

from worker.errors import Refused
from worker.ledger.accounts import Word
from worker.ledger.journal import MAX_REASON, OURSELVES, storable

_MAX_NAME: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Somebody who acts, and why."""

    name: str
    reason: str
    #: Who the machine says that it is, where that is another name.
    login: str | None = None

    @property
    def detail(self) -> dict[str, Any]:
        """What is written down beside the name."""
        return {} if self.login in (None, self.name) else {"login": self.login}

    @property
    def word(self) -> Word:
        """The same, as what is done about an account is written down."""
        return Word(who=self.name, reason=self.reason, detail=self.detail)

    def is_one_with(self, other: str) -> bool:
        """Whether both names are one person's, however they are written."""
        return _folded(self.name) == _folded(other)


def person(name: str, reason: str, login: str | None = None) -> Person:
    """Somebody who acts.

    Raises:
        Refused: no name, one that cannot be written down, or no reason.
    """
    return Person(name=checked_name(name), reason=checked_reason(reason), login=login)


def checked_name(name: str) -> str:
    """A person's name as the ledger keeps it.

    Raises:
        Refused: it is empty, too long, or not one visible line.
    """
    kept = " ".join(unicodedata.normalize("NFKC", name).split())
    if not kept or len(kept) > _MAX_NAME or storable(kept) != kept or _folded(kept) == OURSELVES:
        raise Refused(
            "no_person",
            f"{name!r} is not the name of a person: give one of up to {_MAX_NAME} characters",
        )
    return kept


def checked_reason(reason: str) -> str:
    """Why, as the ledger keeps it.

    Raises:
        Refused: nothing is said, or too much.
    """
    kept = storable(reason.strip())
    if not kept:
        raise Refused("no_reason", "say why: what is done by hand needs a reason")
    if len(kept) > MAX_REASON:
        raise Refused("no_reason", f"the reason has {len(kept)} characters, at most {MAX_REASON}")
    return kept


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
