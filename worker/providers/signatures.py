"""The signatures that several providers' pages describe.

Both rules sign ``k=v`` joined with ``&`` and escape nothing, so one text can be read as other
fields: whoever saw one message could send another under its signature. What could be is refused.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any


def joined(fields: dict[str, Any], *, drop_nested_sign: bool = False, top: bool = True) -> str:
    """``k=v`` joined with ``&``, sorted by ASCII, without ``sign`` and empty values.

    A nested object recurses in place, an array of objects is the recursions one after the other,
    an array of scalars its items (providers.md, "hkrt").
    """
    parts = []
    for key in sorted(fields):
        if key == "sign" and (top or drop_nested_sign):
            continue
        text = _text(fields[key], drop_nested_sign)
        if text:
            parts.append(f"{key}={text}")
    return "&".join(parts)


def _text(value: Any, drop_nested_sign: bool) -> str:
    if isinstance(value, dict):
        return joined(value, drop_nested_sign=drop_nested_sign, top=False)
    if isinstance(value, list):
        return "&".join(text for member in value if (text := _text(member, drop_nested_sign)))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def md5_sign(fields: dict[str, Any], key: str, *, drop_nested_sign: bool = False) -> str:
    """The upper-case MD5 of the joined fields with the key appended."""
    text = joined(fields, drop_nested_sign=drop_nested_sign) + key
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()


def md5_matches(fields: dict[str, Any], key: str) -> bool:
    """Whether ``sign`` is right, over the values as they came.

    The page does not say whether a nested object's own ``sign`` takes part; both are accepted,
    for neither can be made without the key.
    """
    given = fields.get("sign")
    if not isinstance(given, str):
        return False
    return any(
        hmac.compare_digest(md5_sign(fields, key, drop_nested_sign=drop).encode(), given.encode())
        for drop in (False, True)
    )


def times_named(text: str, name: str) -> int:
    """How often a text that was signed could be read as naming something."""
    return len(re.findall(rf"(?<![^&=]){re.escape(name)}=", text))


def may_shift(value: str) -> bool:
    """Whether a value in what is signed could be read as the end of its field and another one."""
    return "&" in value or "=" in value


def sha1_sign(fields: Mapping[str, str], secret: str) -> str:
    """The lower-case SHA-1 of raw ``k=v`` joined with ``&``, the secret being one of them.

    Sorted by ASCII; ``sign`` is left out, an empty value is not (providers.md, "guanaitong").
    """
    text = sha1_text({**fields, "appsecret": secret})
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def sha1_text(fields: Mapping[str, str]) -> str:
    """What is signed of these fields."""
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name != "sign")


def sha1_matches(fields: Mapping[str, str], secret: str) -> bool:
    """Whether ``sign`` is right, over the values as they came."""
    given = fields.get("sign", "")
    return hmac.compare_digest(sha1_sign(fields, secret).encode(), given.encode())
