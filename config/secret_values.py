"""Values of ``accounts.toml`` that may stand elsewhere: ``env:NAME`` or ``file:PATH``."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, SecretBytes, SecretStr, ValidationInfo


def _read(value: str, info: ValidationInfo) -> bytes:
    kind, _, rest = value.partition(":")
    if kind == "env":
        if rest not in os.environ:
            raise ValueError(f"the environment variable {rest} is not set")
        return os.environ[rest].encode()
    if kind == "file":
        return _read_file(Path(rest), info)
    return value.encode()


def _read_file(path: Path, info: ValidationInfo) -> bytes:
    folder: Path = (info.context or {}).get("folder", Path())
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None


def _text(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    text = _read(value, info).decode().strip()
    if not text:
        raise ValueError("is empty")
    if not text.isprintable():
        raise ValueError("holds a line break or another control character")
    return text


def _bytes(value: object, info: ValidationInfo) -> object:
    return _read(value, info) if isinstance(value, str) else value


#: A secret text; white space around it (a file's last newline) does not count.
SecretText = Annotated[SecretStr, BeforeValidator(_text)]
#: A secret file's bytes, such as a key.
SecretFile = Annotated[SecretBytes, BeforeValidator(_bytes)]
