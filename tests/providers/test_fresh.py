"""A fresh call has a connection of its own: a stale one would make a "maybe sent" of nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.providers.harness import OK, PATIENCE_S, Peer, RawServer, answering, call_to, wire_to
from worker.errors import NotSent


def answer_once_and_leave_at_the_next(peer: Peer) -> None:
    """A server that has closed a kept connection, which its client has not heard of yet."""
    peer.request()
    peer.send(OK)
    peer.request()


def test_a_fresh_call_never_uses_a_kept_connection_that_is_stale() -> None:
    with RawServer(answer_once_and_leave_at_the_next) as server, wire_to(server.url) as wire:
        wire.post(call_to(server.url))
        for number in range(3):
            fresh = replace(call_to(server.url), fresh=True)
            assert wire.post(fresh).status == 200
            assert server.connections == number + 2


def test_the_connection_of_a_fresh_call_is_kept_for_nobody() -> None:
    with RawServer(answering(OK)) as server, wire_to(server.url) as wire:
        wire.post(replace(call_to(server.url), fresh=True))
        assert server.talked.wait(PATIENCE_S)
        wire.post(call_to(server.url))
        wire.post(call_to(server.url))
        assert server.connections == 2


def test_a_fresh_call_has_the_gate_and_the_bounds_of_any_other() -> None:
    def veto() -> None:
        raise NotSent("paused")

    with RawServer(answering(OK)) as server, wire_to(server.url) as wire:
        with pytest.raises(NotSent, match="paused"):
            wire.post(replace(call_to(server.url), fresh=True), veto)
        assert server.talked.wait(PATIENCE_S)
        assert (server.connections, server.requests) == (1, [])
