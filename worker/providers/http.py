"""One account's HTTP: posts once, never retries, never redirects, reads a bounded answer.

What can go wrong has two types. :class:`NotSent`: provably nothing left (look-up, connect, TLS,
our own veto). :class:`NoAnswer`: something may have been sent, and what came back, if anything,
cannot be trusted. There is no third.
"""

import logging
import zlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import requests
from requests.exceptions import RequestException

from config.accounts import Account
from worker.errors import NoAnswer, NotSent, Unreached
from worker.providers.formats import said
from worker.providers.sockets import BoundedAdapter, Budget, current_budget

#: The longest answer of a provider's page is a few KiB.
MAX_ANSWER_BYTES: Final = 1_048_576
_CHUNK_BYTES: Final = 65_536
#: More calls at once than a process has threads would never happen.
POOL_SIZE: Final = 64

#: What it says carries whole URLs, and a provider's or a receiver's token may ride in the query.
logging.getLogger("urllib3").setLevel(logging.ERROR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request: the bytes that were signed are the bytes that are sent."""

    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    #: Sent on a connection of its own: a stale kept one would make a "maybe sent" of nothing.
    fresh: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A complete answer, as it came."""

    status: int
    body: bytes


def form_body(fields: Mapping[str, str]) -> bytes:
    """A form as it is sent: UTF-8, percent-encoded."""
    return urlencode(fields).encode("ascii")


def form_fields(body: bytes) -> dict[str, str]:
    """The fields of a form that came: UTF-8, each name once.

    Raises:
        NoAnswer: it is anything else.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError:
        raise NoAnswer("the message is not a form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise NoAnswer("the form names something twice")
    return fields


def always() -> None:
    """The gate of a question: nothing forbids asking."""


def _anywhere(_address: str) -> bool:
    """A provider is where the account says."""
    return True


class Wire:
    """Posts calls of one account; one instance serves every thread of a process.

    It uses the adapter below ``requests``' session: a session would read proxies and credentials
    from the environment, keep cookies, and read the body of a redirect without a bound.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._adapter = _new_adapter()

    def post(
        self,
        call: Call,
        gate: Callable[[], None] = always,
        allows: Callable[[str], bool] = _anywhere,
    ) -> Answer:
        """Send once and read the answer.

        Args:
            call: what to send.
            gate: called after connecting, right before the first byte; it vetoes by raising.
            allows: whether an address that the host's name was resolved to may be connected to.

        Raises:
            NotSent: provably nothing was sent; Unreached, a kind of it: nobody was there.
            NoAnswer: it may have been sent, and there is no complete answer.
        """
        account = self._account
        budget = Budget(
            account.connect_timeout_s, account.read_timeout_s, account.total_timeout_s, gate, allows
        )
        token = current_budget.set(budget)
        try:
            return self._exchange(call)
        except (NotSent, NoAnswer):
            raise
        except Exception as error:
            raise _kind_of_failure(budget)(_root_cause(error)) from error
        finally:
            current_budget.reset(token)

    def _exchange(self, call: Call) -> Answer:
        if not call.fresh:
            return self._through(self._adapter, call)
        with closing(_new_adapter()) as adapter:
            return self._through(adapter, call)

    def _through(self, adapter: BoundedAdapter, call: Call) -> Answer:
        request = requests.PreparedRequest()
        headers = {"Accept-Encoding": "identity", "User-Agent": "refundry", **call.headers}
        request.prepare(method="POST", url=call.url, headers=headers, data=call.body)
        timeouts = (self._account.connect_timeout_s, self._account.read_timeout_s)
        response = adapter.send(request, stream=True, timeout=timeouts, verify=True)
        with response:
            body = _read_all(response.raw)
            body = _decoded(body, response.headers.get("Content-Encoding", "identity"))
            return Answer(status=response.status_code, body=body)

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()


def _kind_of_failure(budget: Budget) -> type[NotSent] | type[NoAnswer]:
    if budget.sending:
        return NoAnswer
    return NotSent if budget.reached else Unreached


def _new_adapter() -> BoundedAdapter:
    return BoundedAdapter(pool_maxsize=POOL_SIZE, max_retries=0)


def _read_all(raw: Any) -> bytes:
    """The body to its end, which is where a cut one shows."""
    body = b""
    while chunk := raw.read(_CHUNK_BYTES, decode_content=False):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise NoAnswer(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
    return body


def _decoded(body: bytes, encoding: str) -> bytes:
    """The plain body; a small body that inflates beyond the bound is no answer."""
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() in ("gzip", "x-gzip", "deflate"):
        return _inflated(body)
    raise NoAnswer("the answer has an encoding that was not asked for")


def _inflated(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = inflater.decompress(body, MAX_ANSWER_BYTES + 1)
    except zlib.error:
        raise NoAnswer("the compressed answer cannot be read") from None
    if len(plain) > MAX_ANSWER_BYTES:
        raise NoAnswer(f"the inflated answer is longer than {MAX_ANSWER_BYTES} bytes")
    if not inflater.eof or inflater.unused_data:
        raise NoAnswer("the compressed answer is cut, or goes on after its end")
    return plain


def _root_cause(error: BaseException) -> str:
    """The innermost error's class, and its words where they can hold no URL, header or secret."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, OSError | HTTPException) and not isinstance(error, RequestException):
        return said(f"{type(error).__name__}: {error}")
    return type(error).__name__
