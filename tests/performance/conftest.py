"""The bench's own parts, of a test's own: a provider that costs nothing, a database, a Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bench.site import Site, provider


@pytest.fixture(scope="session")
def fast_provider() -> Iterator[str]:
    """URL of a provider whose book each test begins anew."""
    with provider() as url:
        yield url


@pytest.fixture
def site(tmp_path: Path, postgres_url: str, valkey: str, fast_provider: str) -> Site:
    """An empty site; its Redis is a database that no other test uses."""
    redis_url = valkey.removesuffix("/0") + "/7"
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    return Site(
        folder=tmp_path,
        database_url=postgres_url,
        redis_url=redis_url,
        provider_url=fast_provider,
    )
