"""Personal data under seal: encrypted, bound to its refund, and told apart without being opened.

It is sealed under the newest key. A row names its key by a digest of it, so that a key that is
missing is told from data that was tampered with.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.errors import CannotOpen

if TYPE_CHECKING:
    from worker.seal_keys import Key


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """What a job says of a person, as it is kept."""

    #: The fields that it has.
    names: tuple[str, ...]
    key_id: str
    #: The encrypted fields.
    token: str = field(repr=False)
    #: What the same data is known by again, by the key that it was sealed with.
    digests: Mapping[str, str] = field(repr=False)
    #: The job's fingerprint from before such data was taken apart.
    former: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        """What the data is known by under its own key."""
        return self.digests[self.key_id]


class Seals:
    """The keys of this installation, the newest first."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        found = _read(keys) if keys else []
        self._keys = {key.id: key for key in found}
        #: The key that is sealed with; None where there is no key.
        self.newest = found[0].id if found else None

    @property
    def former(self) -> frozenset[str]:
        """The keys that are opened with and not sealed with any more."""
        return frozenset(self._keys) - {self.newest}

    def seal(self, refund: str, fields: Mapping[str, Any], former: str = "") -> Sealed:
        """The fields, encrypted for the refund of that name alone.

        Raises:
            CannotOpen: there is no key.
        """
        if self.newest is None:
            raise CannotOpen("REFUNDRY_PERSONAL_KEYS is not set")
        content = _content(refund, fields)
        return Sealed(
            names=tuple(sorted(fields)),
            key_id=self.newest,
            token=self._keys[self.newest].encrypt(content),
            digests={name: key.digest_of(content) for name, key in self._keys.items()},
            former=former,
        )

    def open(self, refund: str, key_id: str, token: str) -> dict[str, Any]:
        """The fields that were sealed for the refund of that name.

        Raises:
            CannotOpen: the key is not there, or it is not what was sealed for this refund.
        """
        if key_id not in self._keys:
            raise CannotOpen(f"the key {key_id} is not in REFUNDRY_PERSONAL_KEYS: put it back")
        try:
            content: dict[str, Any] = json.loads(self._keys[key_id].decrypt(token))
        except ValueError:
            raise CannotOpen("it is not what was sealed") from None
        if content["refund"] != refund:
            raise CannotOpen("it was sealed for another refund")
        fields: dict[str, Any] = content["fields"]
        return fields


def _read(texts: Sequence[str]) -> list["Key"]:
    """What encrypts is loaded where there are keys: it takes six MiB of every process."""
    from worker.seal_keys import Key

    return [Key(text) for text in texts]


def _content(refund: str, fields: Mapping[str, Any]) -> bytes:
    content = {"refund": refund, "fields": dict(fields)}
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
