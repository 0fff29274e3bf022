"""One account's HTTP: posts once, never retries, never redirects, reads a bounded answer.

What can go wrong has two types. :class:`NotSent`: provably nothing left (look-up, connect, TLS,
our own veto). :class:`NoAnswer`: something may have been sent, and what came back, if anything,
cannot be trusted. There is no third.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import requests

from config.accounts import Account
from worker.errors import NoAnswer, NotSent
from worker.providers.sockets import BoundedAdapter, Budget, current_budget

#: The longest answer of a provider's page is a few KiB.
MAX_ANSWER_BYTES: Final = 1_048_576
#: More calls at once than a process has threads would never happen.
POOL_SIZE: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request: the bytes that were signed are the bytes that are sent."""

    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A complete answer, as it came."""

    status: int
    body: bytes


def _always() -> None:
    """The gate of a question: nothing forbids asking."""


class Wire:
    """Posts calls of one account; one instance serves every thread of a process."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.clear()
        adapter = BoundedAdapter(pool_maxsize=POOL_SIZE, max_retries=0)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def post(self, call: Call, gate: Callable[[], None] = _always) -> Answer:
        """Send once and read the answer.

        Args:
            call: what to send.
            gate: called after connecting, right before the first byte; it vetoes by raising.

        Raises:
            NotSent: provably nothing was sent.
            NoAnswer: it may have been sent, and there is no complete answer.
        """
        account = self._account
        budget = Budget(
            account.connect_timeout_s, account.read_timeout_s, account.total_timeout_s, gate
        )
        token = current_budget.set(budget)
        try:
            return self._exchange(call)
        except (NotSent, NoAnswer):
            raise
        except Exception as error:
            kind = NoAnswer if budget.sending else NotSent
            raise kind(_root_cause(error)) from error
        finally:
            current_budget.reset(token)

    def _exchange(self, call: Call) -> Answer:
        headers = {"Accept-Encoding": "identity", "User-Agent": "refundry", **call.headers}
        with self._session.post(
            call.url,
            data=call.body,
            headers=headers,
            allow_redirects=False,
            stream=True,
            timeout=(self._account.connect_timeout_s, self._account.read_timeout_s),
        ) as response:
            body = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=False)
            body = _decoded(body, response.headers.get("Content-Encoding", "identity"))
            return Answer(status=response.status_code, body=body)

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()


def _decoded(body: bytes, encoding: str) -> bytes:
    """The plain body; a small body that inflates beyond the bound is no answer."""
    if encoding.strip().lower() in ("gzip", "x-gzip", "deflate"):
        body = _inflated(body)
    elif encoding.strip().lower() not in ("", "identity"):
        raise NoAnswer("the answer has an encoding that was not asked for")
    if len(body) > MAX_ANSWER_BYTES:
        raise NoAnswer(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
    return body


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = inflater.decompress(body, MAX_ANSWER_BYTES + 1)
    except zlib.error:
        raise NoAnswer("the compressed answer cannot be read") from None
    if not inflater.eof and len(plain) <= MAX_ANSWER_BYTES:
        raise NoAnswer("the compressed answer is cut")
    return plain


def _root_cause(error: BaseException) -> str:
    """The innermost error's class and words; URLs, which may carry tokens, are in outer ones."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"[:200]
