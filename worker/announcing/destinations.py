"""Where a URL of a job points, and how much of it may be shown. Pure."""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

#: Strict, so that no two readers can see different hosts: no user, no backslash, no fragment.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?"
    r"([/?][^#\\]*)?"
)
_ORIGIN: Final = re.compile(r"(https?://)([^/?#\\]*@)?([^/?#\\@]*)")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """What decides whether a URL may be posted to."""

    scheme: str
    #: In lower case; an IPv6 address in brackets.
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Take a URL apart; None if it is not a plain ``http`` or ``https`` one."""
        found = _URL.fullmatch(url)
        if not found:
            return None
        scheme = found["scheme"]
        port = int(found["port"] or _PORTS[scheme])
        if not 0 < port < 65536:
            return None
        return cls(scheme=scheme, host=found["host"].lower(), port=port)

    @property
    def names(self) -> set[str]:
        """The entries of a list that mean it."""
        names = {f"{self.host}:{self.port}"}
        return names | {self.host} if self.port == _PORTS[self.scheme] else names

    @property
    def bare_host(self) -> str:
        """The host without brackets."""
        return self.host.strip("[]")


def receiver_of(url: str) -> str:
    """Scheme, host and port of a URL: all of it that may be shown, and whom it is posted to."""
    found = _ORIGIN.match(url)
    return f"{found[1]}{found[3]}".lower() if found else ""


def without_url(job: object) -> Any:
    """A job as it may be shown and kept beside others: path and query may hold a secret."""
    match job:
        case {"announce": {"url": str(url), **rest}, **others}:
            shown = {"url": f"{receiver_of(url)}/***"}
            return {**others, "announce": {**rest, **shown}}
    return job
