"""The keys of personal data: Fernet, which is AES-128-CBC with HMAC-SHA256."""

import hashlib
import hmac
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

#: Of a key's digest, in characters: enough to tell keys apart, and nothing to find one by.
_ID_LENGTH: Final = 12


class Key:
    """One key of ``REFUNDRY_PERSONAL_KEYS``."""

    def __init__(self, text: str) -> None:
        key = text.encode()
        self.id = hashlib.sha256(b"refundry personal key\0" + key).hexdigest()[:_ID_LENGTH]
        self._fernet = Fernet(key)
        self._comparing = hmac.digest(key, b"refundry personal digest", "sha256")

    def encrypt(self, content: bytes) -> str:
        """What :meth:`decrypt` takes."""
        return self._fernet.encrypt(content).decode()

    def decrypt(self, token: str) -> bytes:
        """The content that was encrypted.

        Raises:
            ValueError: it was not, or not with this key.
        """
        try:
            return self._fernet.decrypt(token.encode())
        except InvalidToken:
            raise ValueError("it was not encrypted with this key") from None

    def digest_of(self, content: bytes) -> str:
        """What tells equal contents from others without the key's showing."""
        return hmac.new(self._comparing, content, hashlib.sha256).hexdigest()


def new_key() -> str:
    """A key for ``REFUNDRY_PERSONAL_KEYS``."""
    return Fernet.generate_key().decode()
