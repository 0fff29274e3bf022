"""The keys of ``REFUNDRY_PERSONAL_KEYS``: each is ``file:PATH``, ``env:NAME``, or itself."""

import base64
import binascii
from typing import Final

from pydantic import SecretStr, TypeAdapter, ValidationError

from config.errors import ConfigError, said
from config.secret_values import SecretText

#: Of a key, before it is written as text.
KEY_BYTES: Final = 32
_VARIABLE: Final = "REFUNDRY_PERSONAL_KEYS"
_SECRET: Final = TypeAdapter(SecretText)


def read_keys(listed: str) -> tuple[SecretStr, ...]:
    """The keys of a list with commas, in its order.

    Raises:
        ConfigError: one cannot be read, or is no key; what it holds is not shown.
    """
    parts = [part for one in listed.split(",") if (part := one.strip())]
    return tuple(_read(number, part) for number, part in enumerate(parts, start=1))


def _read(number: int, part: str) -> SecretStr:
    try:
        key: SecretStr = _SECRET.validate_python(part)
    except ValidationError as error:
        problem = said(error.errors(include_input=False)[0])
        raise ConfigError(f"{_VARIABLE}: key {number}: {problem}") from None
    if not _is_key(key.get_secret_value()):
        raise ConfigError(
            f"{_VARIABLE}: key {number} is none: make one with `refundry personal key`"
        )
    return key


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
