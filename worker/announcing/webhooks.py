"""Announcements to a URL: signed by the rules of Standard Webhooks, to listed hosts only.

The signature is a few lines of ``hmac``; the package ``standardwebhooks`` verifies them in the
tests, so that what signs and what verifies do not share a mistake.
"""

import base64
import hashlib
import hmac
import json
import time
from functools import partial
from typing import Any, Final

from config.accounts import Account
from config.announce_hosts import signing_key
from worker.announcing.addresses import is_address, is_own, is_public
from worker.announcing.destinations import Destination, receiver_of
from worker.errors import NotSent, NotTaken
from worker.providers.http import Call, Wire

#: A receiver that takes longer should note the announcement first and work on it later.
TOTAL_S: Final = 10.0


class Webhooks:
    """Announces the refunds of one account; one instance serves every thread of a process."""

    def __init__(self, account: Account) -> None:
        self._hosts = account.announce_hosts
        self._private = account.announce_private
        secret = account.announce_secret
        self._key = signing_key(secret.get_secret_value()) if secret else b""
        total_s = min(TOTAL_S, account.total_timeout_s)
        self._wire = Wire(account.model_copy(update={"total_timeout_s": total_s}))

    def problems(self, url: str) -> list[str]:
        """Why a URL is not announced to, a sentence each, for whoever asked for it."""
        to = Destination.of(url)
        if to is None:
            return ["announce.url: must be http(s)://host[:port]/…, without user and fragment"]
        if not to.names & self._hosts:
            return [
                f"announce.url: {to.host}:{to.port} is not in the account's announce_hosts; "
                "ask its operators to list it"
            ]
        if to.scheme == "http" and not self._private:
            return ["announce.url: must be https; http is for private addresses alone"]
        if is_address(to.bare_host) and not self._allows(to.scheme, to.bare_host):
            return [f"announce.url: the address {to.bare_host} is not allowed"]
        return []

    def post(self, url: str, message_id: str, payload: dict[str, Any]) -> None:
        """Post an announcement once; returns if it was taken: a complete answer of 2xx.

        Raises:
            NotSent: it provably did not leave.
            NoAnswer: it may have arrived, and no complete answer came.
            NotTaken: it was answered with anything but 2xx.
        """
        problems, to = self.problems(url), Destination.of(url)
        if problems or to is None:
            raise NotSent("; ".join(problems))
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", **self._signed(message_id, body)}
        call = Call(url=url, body=body, headers=headers)
        answer = self._wire.post(call, allows=partial(self._allows, to.scheme))
        if not 200 <= answer.status < 300:
            raise NotTaken(f"{receiver_of(url)} answered with HTTP status {answer.status}")

    def close(self) -> None:
        """Close the kept connections."""
        self._wire.close()

    def _allows(self, scheme: str, address: str) -> bool:
        """Unencrypted only within one's own network; there only if the account says so."""
        if is_own(address):
            return self._private
        return scheme == "https" and is_public(address)

    def _signed(self, message_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        digest = hmac.new(self._key, signed, hashlib.sha256).digest()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }
