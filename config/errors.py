"""What is wrong with the set-up."""

from collections.abc import Mapping
from typing import Any


class ConfigError(Exception):
    """Raised when a setting is missing or wrong; the message names it and says what to do."""


class BrokerNotStarted(ConfigError):
    """Raised when no broker is named and the embedded one was never started here."""


def said(problem: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a field, in words for whoever writes it."""
    words = {"extra_forbidden": "is no setting here", "missing": "is missing"}
    return words.get(problem["type"]) or str(problem["msg"]).removeprefix("Value error, ")
