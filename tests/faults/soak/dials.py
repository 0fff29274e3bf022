"""The providers' worst day: every lie of the simulator at once, within what the protocol survives.

What is left out, and why: no answer or message that is rightly signed says that a declined refund
was executed, for nobody could tell; nothing arrives later than the deadline of its call.
"""

from typing import Any, Final

from tests.e2e.stack import PROVIDERS

#: The provider has done nothing, and its answer does not say so.
_UNSEEN: Final = {
    "timeout_before": 0.006,
    "reset_before": 0.012,
    "http_500_before": 0.01,
    "http_404_before": 0.006,
    "redirect": 0.004,
    "late:2": 0.006,
}
_SUBMIT: Final = {
    "timeout_after": 0.006,
    "reset_after": 0.02,
    "http_500_after": 0.01,
    "truncated": 0.01,
    "headers_cut": 0.008,
    "garbage": 0.01,
    "bad_signature": 0.01,
    "wrong_amount": 0.01,
    "wrong_number": 0.01,
    "unknown_code": 0.01,
    "unknown_status": 0.01,
    "token_refused": 0.005,
    "drip": 0.003,
    "drip_headers": 0.003,
    "oversized": 0.001,
    "gzip_bomb": 0.0005,
    "slow:1": 0.01,
}
_QUERY: Final = {
    "not_found": 0.03,
    "timeout": 0.004,
    "reset": 0.02,
    "http_500": 0.02,
    "http_404": 0.01,
    "truncated": 0.01,
    "garbage": 0.01,
    "bad_signature": 0.01,
    "wrong_amount": 0.01,
    "wrong_number": 0.01,
    "unknown_code": 0.01,
    "slow:1": 0.01,
}
_NOTIFY: Final = {
    "none": 0.3,
    "late:2": 0.1,
    "twice": 0.1,
    "forged": 0.05,
    "reordered": 0.05,
    "stale": 0.05,
    "wrong_amount": 0.005,
}
_FATE: Final = {"decline": 0.04, "pending:2": 0.03, "pending_decline:2": 0.02, "unknown:2": 0.02}
#: What guanaitong never saw is left to a person and holds up its order, so it is rare there.
_RARE: Final = 0.3
_CALM: Final = {"submit": {}, "query": {}, "notify": {}, "fate": {}, "latency_s": [0, 0]}


def worst_day() -> list[dict[str, Any]]:
    """A dial a provider, as ``/_sim/dial`` takes them."""
    return [_dial(name) for name in PROVIDERS.values()]


def calm() -> list[dict[str, Any]]:
    """Every provider honest and quick; what is pending settles as it was drawn."""
    return [{"provider": name, **_CALM} for name in PROVIDERS.values()]


def _dial(provider: str) -> dict[str, Any]:
    rare = _RARE if provider == "guanaitong" else 1.0
    return {
        "provider": provider,
        "latency_s": [0.005, 0.06],
        "submit": _SUBMIT | {name: share * rare for name, share in _UNSEEN.items()},
        "query": _QUERY,
        "notify": _NOTIFY,
        "notify_tries": 4,
        "settle_s": None if provider == "guanaitong" else 3.0,
        "fate": _FATE,
    }
