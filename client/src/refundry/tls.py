"""TLS to the broker, verified: left alone, the transports trust any server, or any name."""

import ssl
from typing import Any
from urllib.parse import urlsplit


def broker_tls(url: str) -> dict[str, Any] | None:
    """Celery's ``broker_use_ssl`` for a URL; what the URL's own ``ssl_...`` says goes before it."""
    parts = urlsplit(url)
    if parts.scheme == "rediss":
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    if parts.scheme == "amqps":
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": parts.hostname}
    return None
