"""TLS is verified whatever the environment says, for every kind of call; else nothing is sent."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest
import redis
from celery import Celery
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from limits.storage import RedisStorage
from sqlalchemy import make_url

from config.celery_options import celery_options
from config.settings import load_settings
from refundry import RefundClient
from tests.providers.harness import OK, PATIENCE_S, RawServer, account, answering, call_to, wire_to
from tests.receiver import SECRET
from worker.access_tokens import Tokens
from worker.announcing.webhooks import Webhooks
from worker.errors import NotSent, Unreached
from worker.providers.base import Tokened, load_provider
from worker.providers.http import Wire
from worker.redis_client import open_redis

DAY: Final = timedelta(days=1)
#: Whose certificate a server shows, from when on and until when, counted from now in days.
WRONG: Final = {
    "nobody vouches for": (None, "127.0.0.1", -1, 1),
    "is another host's": ("trusted", "127.0.0.9", -1, 1),
    "has run out": ("trusted", "127.0.0.1", -3, -1),
    "is not valid yet": ("trusted", "127.0.0.1", 1, 3),
}
#: What other programs are told to trust, to leave unverified or to go through by.
VARIABLES: Final = (
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"),
    *("https_proxy", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"),
)
OFF: Final = {"PYTHONHTTPSVERIFY": "0", "CURL_SSL_NO_VERIFY": "1", "NO_PROXY": "*"}


class Authority:
    """Signs certificates that a test's client may be made to trust."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "refundry test")])
        self.own = self._built(self.name, self.key.public_key(), -10, 10).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.pem = self.own.sign(self.key, SHA256()).public_bytes(serialization.Encoding.PEM)

    def _built(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, begins: int, ends: int
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return x509.CertificateBuilder(
            issuer_name=self.name,
            subject_name=name,
            public_key=key,
            serial_number=x509.random_serial_number(),
            not_valid_before=now + begins * DAY,
            not_valid_after=now + ends * DAY,
        )

    def serving(self, folder: Path, host: str, begins: int, ends: int) -> ssl.SSLContext:
        """A server's TLS with a certificate for a host."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
        built = self._built(x509.Name([]), key.public_key(), begins, ends)
        signed = built.add_extension(alternative, critical=True).sign(self.key, SHA256())
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / "server.pem").write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        return context


AUTHORITY: Final = Authority()


@contextmanager
def server_with(wrong: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    """A server whose certificate is wrong in one way, in an environment that says not to look."""
    trusted, host, begins, ends = WRONG[wrong]
    (folder / "authority.pem").write_bytes(AUTHORITY.pem)
    if trusted:
        bundle = str(folder / "authority.pem")
        monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", bundle)
    with RawServer(answering(OK), AUTHORITY.serving(folder, host, begins, ends)) as server:
        for name in VARIABLES:
            value = server.url if name.lower().endswith("proxy") else str(folder / "authority.pem")
            monkeypatch.setenv(name, value)
        for name, value in OFF.items():
            monkeypatch.setenv(name, value)
        yield server
        assert server.talked.wait(PATIENCE_S)
        assert server.requests == []


wrongs = pytest.mark.parametrize("wrong", WRONG)


@wrongs
def test_a_call_is_never_sent_to_a_server_whose_certificate(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_with(wrong, tmp_path, monkeypatch) as server, wire_to(server.url) as wire:
        with pytest.raises(Unreached, match="CERTIFICATE_VERIFY_FAILED"):
            wire.post(call_to(server.url))


@wrongs
def test_no_token_is_asked_of_a_server_whose_certificate(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey: str
) -> None:
    with server_with(wrong, tmp_path, monkeypatch) as server:
        own = account("guanaitong", server.url)
        provider, wire, tokens = load_provider(own), Wire(own), Tokens(valkey)
        assert isinstance(provider, Tokened)
        with pytest.raises(Unreached, match="CERTIFICATE_VERIFY_FAILED"):
            tokens.get(own, provider, wire)
        wire.close()
        tokens.close()


@wrongs
def test_nothing_is_announced_to_a_receiver_whose_certificate(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_with(wrong, tmp_path, monkeypatch) as server:
        hosts = [f"127.0.0.1:{server.port}"]
        own = account(announce_hosts=hosts, announce_secret=SECRET, announce_private=True)
        webhooks = Webhooks(own)
        with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
            webhooks.post(f"{server.url}/told", "msg_1", {"event": "final"})
        webhooks.close()


BROKERS: Final = {
    "worker": lambda url: Celery(set_as_current=False, config_source=celery_options(url)),
    "producer": lambda url: RefundClient(url)._app,
}


@pytest.mark.parametrize("wrong", ["nobody vouches for", "is another host's"])
@pytest.mark.parametrize("who", BROKERS)
@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_no_password_is_shown_to_a_broker_whose_certificate(
    scheme: str, who: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_with(wrong, tmp_path, monkeypatch) as server:
        if wrong == "nobody vouches for":
            monkeypatch.delenv("SSL_CERT_FILE")
        broker = BROKERS[who](f"{scheme}://user:secret@127.0.0.1:{server.port}/0")
        with broker.connection_for_write() as connection:
            with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
                connection.ensure_connection(max_retries=1, timeout=2)


@pytest.mark.parametrize("query", ["", "?ssl_cert_reqs=required"])
def test_a_redis_over_tls_is_verified_for_locks_tokens_and_rates(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_with("nobody vouches for", tmp_path, monkeypatch) as server:
        monkeypatch.delenv("SSL_CERT_FILE")
        url = f"rediss://:secret@127.0.0.1:{server.port}/0{query}"
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            open_redis(url).ping()
        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            RedisStorage(url).storage.ping()


def test_what_a_databases_url_says_of_tls_reaches_the_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "sslcert": "/c", "sslkey": "/k"}
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    (tmp_path / "password").write_text("p@ss\n")
    monkeypatch.setenv("REFUNDRY_DATABASE_URL", f"postgresql://u@db.example/ledger?{query}")
    monkeypatch.setenv("REFUNDRY_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    url = make_url(load_settings().database())
    assert (dict(url.query), url.password) == (wanted, "p@ss")
