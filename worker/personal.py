"""Personal data in a job: finding it and masking it, by the names of the fields. Pure."""

from collections.abc import Iterable, Set
from typing import Any, Final

#: What stands in for a value.
MASK: Final = "***"
#: What a request has in their place: the names of the fields that are kept under seal.
SEALED_NAMES: Final = "personal"
#: Deeper than this no job is taken, and nothing is looked for.
_MAX_DEPTH: Final = 32


def personal_in(value: Any, names: Set[str], depth: int = 0) -> set[str]:
    """Those of the names that have a value anywhere in a job."""
    if depth > _MAX_DEPTH or not names:
        return set()
    if isinstance(value, dict):
        own = {name for name, inner in value.items() if name in names and inner is not None}
        value = list(value.values())
    else:
        own = set()
    inner = value if isinstance(value, list | tuple) else ()
    return own.union(*(personal_in(one, names, depth + 1) for one in inner))


def masked(value: Any, names: Set[str], depth: int = 0) -> Any:
    """The same job with the named fields' values masked; what is nested too deep is masked too."""
    if not names or not isinstance(value, dict | list | tuple):
        return value
    if depth > _MAX_DEPTH:
        return MASK
    if isinstance(value, dict):
        return {
            name: MASK if name in names else masked(inner, names, depth + 1)
            for name, inner in value.items()
        }
    return [masked(inner, names, depth + 1) for inner in value]


def without_values(text: str, values: Iterable[object]) -> str:
    """A text that somebody else wrote, in which none of the values stands any more."""
    for value in sorted(map(str, values), key=len, reverse=True):
        text = text.replace(value, MASK) if value.strip() else text
    return text
