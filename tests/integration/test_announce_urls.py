"""Announcements to a URL: receivers on real sockets, which verify what they are told."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from refundry import State
from tests.integration.builders import MINUTE, Shop, race
from tests.integration.conftest import MakeShop
from tests.providers.harness import OK, Peer, RawServer, answering, make_certificate, once
from tests.providers.test_gate import trusted
from tests.receiver import SECRET, Receiver
from worker.announcing.couriers import COURIERS, PER_RECEIVER
from worker.ledger.engine import Ledger
from worker.refund import Verdict
from worker.steps.announce import announce
from worker.steps.announce_urls import announce_urls

Told = dict[str, Any]
OpenShop = Callable[..., Shop]


@pytest.fixture
def open_shop(ledger: Ledger, make_shop: MakeShop) -> OpenShop:
    """A shop that may announce to these hosts on loopback."""

    def make(*hosts: str, **more: Any) -> Shop:
        settings = {"announce_hosts": list(hosts), "announce_secret": SECRET}
        own = settings | {"announce_private": True} | more
        return make_shop(ledger, shop=own)

    return make


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def end(shop: Shop, number: str, url: str, verdict: Verdict = Verdict.SUCCEEDED) -> None:
    """A refund from intake to its end, with its two announcements."""
    accepted = shop.accept(order_no=f"O{number}", refund_no=number, announce={"url": url})
    intent = shop.claim(accepted.order_id)
    assert intent is not None
    shop.settle(intent, verdict)


def tick(shop: Shop) -> int:
    """One tick, and the end of the rounds that it started; how many these were."""
    rounds = announce_urls(shop.runtime)
    for one in rounds:
        one.result()
    return len(rounds)


def tell_all(shop: Shop) -> None:
    while tick(shop):
        pass


def undelivered(shop: Shop) -> int:
    return int(shop.value("SELECT count(*) FROM announcements WHERE delivered_at IS NULL"))


def tries(shop: Shop) -> list[int]:
    return [row.tries for row in shop.rows("SELECT tries FROM announcements ORDER BY id")]


def say_nothing(peer: Peer) -> None:
    peer.await_leaving()


def drip(peer: Peer) -> None:
    peer.request()
    peer.drip(OK * 99)


class TestTold:
    def test_acceptance_and_end_are_told_in_order_signed_and_as_tasks_are(
        self, open_shop: OpenShop, receiver: Receiver
    ) -> None:
        shop = open_shop(receiver.host)
        end(shop, "R1", receiver.url)
        end(shop, "R2", receiver.url, Verdict.REJECTED)
        tell_all(shop)
        assert receiver.events("R1") == receiver.events("R2") == ["accepted", "final"]
        paths, ids, told = zip(*receiver.told, strict=True)
        assert set(paths) == {"/told?token=HUNTER2"}
        assert len(set(ids)) == 4
        rows = shop.rows("SELECT payload FROM announcements ORDER BY id")
        kept = [row.payload if isinstance(row.payload, dict) else json.loads(row.payload)
                for row in rows]  # fmt: skip
        assert sorted(map(str, kept)) == sorted(map(str, told))
        assert undelivered(shop) == 0

    def test_what_was_not_taken_is_told_again_under_the_same_id_before_what_came_later(
        self, open_shop: OpenShop, receiver: Receiver
    ) -> None:
        receiver.statuses = [500, 302, 410]
        shop = open_shop(receiver.host)
        end(shop, "R1", receiver.url)
        for turn in range(1, 4):
            tell_all(shop)
            assert tries(shop) == [turn, 0]
            shop.wait(MINUTE)
        tell_all(shop)
        assert receiver.events() == ["accepted"] * 4 + ["final"]
        assert len({message for _, message, _ in receiver.told[:4]}) == 1
        assert undelivered(shop) == 0

    def test_a_redirect_is_not_followed(self, open_shop: OpenShop, receiver: Receiver) -> None:
        receiver.statuses = [307]
        shop = open_shop(receiver.host)
        end(shop, "R1", receiver.url)
        tell_all(shop)
        assert [path for path, _, _ in receiver.told] == ["/told?token=HUNTER2"]

    def test_a_receiver_that_was_down_is_told_when_it_is_back(self, open_shop: OpenShop) -> None:
        with Receiver() as down:
            port, url = down.port, down.url
        shop = open_shop(down.host)
        end(shop, "R1", url)
        tell_all(shop)
        assert tries(shop) == [1, 0]
        shop.wait(MINUTE)
        with Receiver(port) as back:
            tell_all(shop)
            assert back.events() == ["accepted", "final"]

    def test_who_is_down_for_a_day_is_a_case_and_is_still_tried(self, open_shop: OpenShop) -> None:
        with Receiver() as down:
            pass
        shop = open_shop(down.host)
        end(shop, "R1", down.url)
        for _ in range(30):
            assert tick(shop) == 1
            shop.wait(70 * MINUTE)
        assert shop.value("SELECT kind FROM cases") == "unannounced"

    def test_over_tls_the_certificate_is_verified(
        self, open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        certificate = make_certificate(tmp_path, "127.0.0.1")
        with monkeypatch.context() as patch:
            tls = trusted(certificate, patch)
            with RawServer(answering(OK), tls) as server:
                shop = open_shop(f"127.0.0.1:{server.port}", announce_private=True)
                end(shop, "R1", f"{server.url}/told")
                tell_all(shop)
                assert undelivered(shop) == 0
                head, _, body = server.requests[0].partition(b"\r\n\r\n")
                lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
                assert Webhook(SECRET).verify(body, lines)["event"] == "accepted"
        with RawServer(answering(OK), tls) as server:
            other = open_shop(f"127.0.0.1:{server.port}", announce_private=True)
            end(other, "R2", f"{server.url}/told")
            tell_all(other)
            assert (undelivered(other), server.requests) == (2, [])

    def test_couriers_of_two_workers_tell_everything_in_order(
        self, postgres_ledger: Ledger, make_shop: MakeShop, receiver: Receiver
    ) -> None:
        own = {"announce_hosts": [receiver.host], "announce_secret": SECRET}
        shops = [make_shop(postgres_ledger, shop=own | {"announce_private": True}) for _ in "ab"]
        numbers = [f"R{turn}" for turn in range(20)]
        for number in numbers:
            end(shops[0], number, receiver.url)
        while undelivered(shops[0]):
            race(lambda turn: tick(shops[turn % 2]), 4)
        for number in numbers:
            assert list(dict.fromkeys(receiver.events(number))) == ["accepted", "final"]
        assert len(receiver.told) == 40


class TestRefusedAtIntake:
    def test_a_host_that_is_not_listed_is_refused_and_not_told(
        self, open_shop: OpenShop, receiver: Receiver
    ) -> None:
        shop = open_shop("shop.example")
        assert shop.refused(announce={"url": receiver.url}) == "invalid"
        (row,) = shop.rows("SELECT reason, job FROM refused_jobs")
        assert "announce_hosts" in row.reason
        assert "HUNTER2" not in row.job + row.reason
        assert shop.value("SELECT count(*) FROM announcements") == 0
        assert shop.value("SELECT count(*) FROM orders") == 0

    def test_a_private_address_is_refused_where_the_account_does_not_allow_it(
        self, open_shop: OpenShop
    ) -> None:
        shop = open_shop("10.0.0.1", announce_private=False)
        assert shop.refused(announce={"url": "https://10.0.0.1/told"}) == "invalid"

    def test_a_refusal_is_told_to_a_listed_host_of_a_known_account(
        self, open_shop: OpenShop, receiver: Receiver
    ) -> None:
        shop = open_shop(receiver.host)
        shop.refused(amount=0, announce={"url": receiver.url})
        for account in ("nobody", None, [1]):
            shop.take(account=account, amount=0, announce={"url": receiver.url})
        tell_all(shop)
        ((_, _, told),) = receiver.told
        assert (told["event"], told["refund_no"], told["state"]) == ("refused", "R1", None)

    def test_a_host_that_was_taken_off_the_list_is_not_told_any_more(
        self, open_shop: OpenShop, receiver: Receiver
    ) -> None:
        end(open_shop(receiver.host), "R1", receiver.url)
        shop = open_shop("shop.example")
        tell_all(shop)
        assert (tries(shop), receiver.told) == ([1, 0], [])


class TestAddresses:
    @pytest.mark.parametrize("private", [False, True])
    def test_a_name_is_looked_up_once_and_what_it_resolves_to_is_checked(
        self, private: bool, open_shop: OpenShop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look_ups: list[str] = []

        def resolve(host: str, port: int, **_: Any) -> list[Any]:
            look_ups.append(host)
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, ("127.0.0.1", port))]

        with RawServer(answering(OK)) as server:
            name = f"rebound.example:{server.port}"
            shop = open_shop(name, announce_private=private, connect_timeout_s=0.5)
            end(shop, "R1", f"https://{name}/told")
            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            tick(shop)
            monkeypatch.undo()
            assert look_ups == ["rebound.example"]
            assert server.connections == private

    def test_a_real_name_of_a_private_address_is_not_told(self, open_shop: OpenShop) -> None:
        with RawServer(answering(OK)) as server:
            name = f"localhost:{server.port}"
            shop = open_shop(name, announce_private=False)
            end(shop, "R1", f"https://{name}/told")
            tell_all(shop)
            assert (server.connections, tries(shop)) == (0, [1, 0])

    def test_no_proxy_is_taken_from_the_environment(
        self, open_shop: OpenShop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with RawServer(answering(OK)) as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            shop = open_shop(receiver.host)
            end(shop, "R1", receiver.url)
            tell_all(shop)
            assert (proxy.connections, len(receiver.told)) == (0, 2)


class TestSlowReceivers:
    @pytest.mark.parametrize(
        "talk",
        [
            pytest.param(say_nothing, id="silence"),
            pytest.param(drip, id="drip"),
            pytest.param(once(OK.replace(b"2\r", b"9000000\r") + b"x" * 2_000_000), id="oversized"),
        ],
    )
    def test_an_answer_is_bounded_in_time_and_size(
        self, talk: Callable[[Peer], None], open_shop: OpenShop
    ) -> None:
        with RawServer(talk) as server:
            shop = open_shop(f"127.0.0.1:{server.port}", total_timeout_s=0.5)
            end(shop, "R1", f"{server.url}/told")
            began = time.monotonic()
            tell_all(shop)
            assert time.monotonic() - began < 5
            assert tries(shop) == [1, 0]

    def test_fifty_for_a_url_that_never_answers_delay_nobody_else(
        self, open_shop: OpenShop, receiver: Receiver
    ) -> None:
        told: list[Told] = []
        with RawServer(say_nothing) as silent:
            host = f"127.0.0.1:{silent.port}"
            shop = open_shop(host, receiver.host, total_timeout_s=3.0)
            for number in range(50):
                shop.accept(
                    order_no=f"O{number}", refund_no=f"S{number}",
                    announce={"url": f"{silent.url}/told"},
                )  # fmt: skip
            hanging = announce_urls(shop.runtime)
            assert silent.connected.wait(5)
            end(shop, "R1", receiver.url)
            shop.accept(order_no="OT", refund_no="T1", announce={"task": "told"})
            began = time.monotonic()
            announce(shop.runtime, lambda _, payload: told.append(payload))
            rounds = announce_urls(shop.runtime)
            assert time.monotonic() - began < 1
            rounds[-1].result(1)
            assert [one["refund_no"] for one in told] == ["T1"]
            assert receiver.events("R1") == ["accepted"]
            assert not hanging[0].done()
            assert shop.runtime.couriers.free >= COURIERS - PER_RECEIVER
            assert silent.connections <= PER_RECEIVER
            for one in (*hanging, *rounds):
                one.result()
        assert sum(tries(shop)) <= PER_RECEIVER
        assert undelivered(shop) == 51

    def test_a_receiver_gets_no_more_rounds_at_once_than_its_share(
        self, open_shop: OpenShop
    ) -> None:
        with RawServer(say_nothing) as silent:
            shop = open_shop(f"127.0.0.1:{silent.port}", total_timeout_s=1.0)
            started = []
            for number in range(6):
                shop.accept(
                    order_no=f"O{number}", refund_no=f"S{number}",
                    announce={"url": f"{silent.url}/{number}"},
                )  # fmt: skip
                started += announce_urls(shop.runtime)
            assert len(started) == PER_RECEIVER
            for one in started:
                one.result()
            assert shop.runtime.couriers.free == COURIERS

    def test_a_receiver_that_hangs_is_told_the_rest_without_losing_its_turn(
        self, open_shop: OpenShop
    ) -> None:
        silent = threading.Event()
        silent.set()

        def talk(peer: Peer) -> None:
            while peer.request():
                if silent.is_set():
                    peer.await_leaving()
                peer.send(OK)

        with RawServer(talk) as server:
            shop = open_shop(f"127.0.0.1:{server.port}", total_timeout_s=0.5)
            for number in range(5):
                shop.accept(
                    order_no=f"O{number}", refund_no=f"S{number}",
                    announce={"url": f"{server.url}/{number}"},
                )  # fmt: skip
            tick(shop)
            assert sorted(tries(shop)) == [0, 0, 0, 0, 1]
            silent.clear()
            tell_all(shop)
            assert undelivered(shop) == 1
            shop.wait(MINUTE)
            tell_all(shop)
            assert undelivered(shop) == 0


def test_neither_the_secret_nor_the_url_is_logged_or_kept_as_evidence(
    open_shop: OpenShop, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver(statuses=[500]) as receiver:
        shop = open_shop(receiver.host)
        end(shop, "R1", receiver.url)
        tell_all(shop)
    for _ in range(30):
        tick(shop)
        shop.wait(70 * MINUTE)
    assert shop.state() is State.SUCCEEDED
    columns = shop.rows("SELECT detail, message FROM events JOIN attempts USING (refund_id)")
    kept = columns + shop.rows("SELECT evidence, owner FROM cases")
    printed = "".join(capsys.readouterr())
    said = f"{caplog.text} {printed} {kept}"
    assert "announce.not_taken" in said
    assert "HUNTER2" not in said
    assert SECRET.removeprefix("whsec_") not in said
