"""Where announcements by URL may go, and what they are signed with, as accounts say it."""

import base64
import binascii
import re
from typing import Annotated, Final

from pydantic import AfterValidator

#: Standard Webhooks writes a symmetric secret so, and asks for 24 to 64 random bytes.
SECRET_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)
#: A name, an IPv4 address, or an IPv6 address in brackets; then the port, where it is not 443.
_HOST: Final = re.compile(
    r"([a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?"
)


def _listed(text: str) -> str:
    host = text.lower()
    found = _HOST.fullmatch(host)
    if not found or not 0 < int((found[3] or ":1")[1:]) < 65536:
        raise ValueError("write each as HOST or HOST:PORT, without scheme and path")
    return host


#: One entry of an account's list.
ListedHost = Annotated[str, AfterValidator(_listed)]


def signing_key(secret: str) -> bytes:
    """The key that a secret stands for.

    Raises:
        ValueError: it is none; the message does not show it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in _KEY_BYTES:
        raise ValueError("announce_secret must be whsec_ and 24 to 64 random bytes in base64")
    return key
