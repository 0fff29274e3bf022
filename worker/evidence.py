"""What is kept of a call and its answer: as text, masked and bounded.

A signature, a token, a secret and whoever a person is have no place in it; neither has what has no
end. Masked are the values of fields that are called like one of them, what an account knows as
secret wherever it stands, and mobile numbers. Headers are not kept.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from worker.errors import NoAnswer
from worker.personal import MASK
from worker.providers.formats import NumberText, one_line, read_object
from worker.providers.http import Answer, Call, form_fields

#: What is kept of a call, and of an answer, in characters.
MAX_TEXT: Final = 2000
#: What is kept of a body that is neither a JSON object nor a form, in characters.
MAX_UNREAD: Final = 400
#: Deeper than this nothing is kept.
_MAX_DEPTH: Final = 16
#: What the names of fields are made of whose values are nobody's to read.
_SUSPECT: Final = (
    "sign|token|secret|passw|pwd|key|auth|cookie|phone|mobile|mail|addr|recipient|receiver|payer|"
    "payee|buyer|consignee|holder|open_?id|union_?id|id_?card|card_?no|bank_?card|id_?no|cert_?no|"
    "user_?name|real_?name|birth"
)
_PLAIN: Final = json.JSONEncoder(ensure_ascii=False)
#: A number of China's mobile networks that stands by itself.
_MOBILE: Final = re.compile(r"(?<![0-9A-Za-z_-])1[3-9]\d{9}(?![0-9A-Za-z_-])")
#: What a form's fields are called; else it is text that happens to have its signs.
_FORM_NAME: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
#: Longer ones are on no provider's page.
_LONGEST_NAME: Final = 64
#: A shorter secret would be found in words that are none.
_LEAST_SECRET: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """What one account's calls and answers are masked by."""

    #: Found in a field's name: the value is masked.
    names: re.Pattern[str]
    #: The same before a value, in text that is not taken to pieces: nothing behind it is kept.
    pairs: re.Pattern[str]
    #: Masked wherever they stand.
    secrets: frozenset[str] = field(repr=False)


def masks(personal: Iterable[str], secrets: Iterable[str]) -> Masks:
    """What to mask by, beside the usual: a provider's personal fields, an account's secrets."""
    own = (re.sub(r"(?<=.)(?=[A-Z])", "_?", re.escape(name)) for name in sorted(personal))
    names = "|".join((_SUSPECT, *own))
    return Masks(
        names=re.compile(names, re.IGNORECASE),
        pairs=re.compile(
            rf"(?<![\w.-])[\w.-]*(?:{names})[\w.-]*[\"'\\]*\s*(?:value\s*)?[:=]",
            re.IGNORECASE,
        ),
        secrets=frozenset(secret for secret in secrets if len(secret) >= _LEAST_SECRET),
    )


@lru_cache(maxsize=1024)
def _is_known_suspect(names: re.Pattern[str], name: str) -> bool:
    return names.search(name) is not None


def _is_suspect(names: re.Pattern[str], name: str) -> bool:
    """Remembered, for a page has the same names in every call; but not what a stranger makes up."""
    if len(name) <= _LONGEST_NAME:
        return _is_known_suspect(names, name)
    return names.search(name) is not None


def kept_call(call: Call, by: Masks) -> str:
    """The call as it was sent: where to on the first line, then the body."""
    url = urlsplit(call.url)
    query = f"?{_form(url.query.encode(), by)}" if url.query else ""
    host = url.netloc.rpartition("@")[2]
    return _bounded(f"POST {url.scheme}://{host}{url.path}{query}", call.body, by)


def kept_answer(answer: Answer, by: Masks) -> str:
    """The answer as it came: the status on the first line, then the body."""
    return _bounded(f"HTTP {answer.status}", answer.body, by)


def _bounded(head: str, body: bytes, by: Masks) -> str:
    text = _without_secrets(f"{one_line(head)}\n{one_line(_body(body, by))}", by)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(body)} bytes)"


def _body(body: bytes, by: Masks) -> str:
    """A JSON object, a form, or else the beginning of what stands there."""
    for read in (_object, _form):
        try:
            return read(body, by)
        except NoAnswer:
            continue
    return _unread(body, by)


def _object(body: bytes, by: Masks) -> str:
    return _json(read_object(body), by)


def _form(body: bytes, by: Masks) -> str:
    fields = form_fields(body)
    if not all(map(_FORM_NAME.fullmatch, fields)):
        raise NoAnswer("the message is not a form")
    return "&".join(f"{name}={_form_value(name, value, by)}" for name, value in fields.items())


def _form_value(name: str, value: str, by: Masks) -> str:
    return MASK if _is_suspect(by.names, name) else _text(value, by)


def _unread(body: bytes, by: Masks) -> str:
    """Masked before it is cut: half a secret is one, too."""
    text = _words(body[: 8 * MAX_UNREAD].decode("utf-8", errors="replace"), by)
    return text if len(text) <= MAX_UNREAD else f"{text[:MAX_UNREAD]}… ({len(body)} bytes)"


def _json(value: Any, by: Masks, depth: int = 0) -> str:
    """JSON with its numbers as they were written; what is called like a secret is masked whole."""
    if depth > _MAX_DEPTH:
        return json.dumps(MASK)
    if isinstance(value, dict):
        members = (
            f"{_quoted(_without_secrets(name, by))}:"
            + _json(MASK if _is_suspect(by.names, name) else inner, by, depth + 1)
            for name, inner in value.items()
        )
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(_json(inner, by, depth + 1) for inner in value)}]"
    if isinstance(value, NumberText):
        return str(value)
    return _quoted(_text(value, by) if isinstance(value, str) else value)


def _quoted(value: object) -> str:
    return _PLAIN.encode(value)


def _text(text: str, by: Masks) -> str:
    """A text within: an object of its own, as Baofu's content is, or words."""
    if text.startswith("{"):
        try:
            return _object(text.encode(errors="replace"), by)
        except NoAnswer:
            pass
    return _words(text, by)


def _words(text: str, by: Masks) -> str:
    text = text[: 4 * MAX_TEXT]
    found = by.pairs.search(text) if "=" in text or ":" in text else None
    if found is not None:
        text = f"{text[: found.end()]}{MASK}"
    return _without_secrets(_MOBILE.sub(MASK, text), by)


def _without_secrets(text: str, by: Masks) -> str:
    for secret in by.secrets:
        text = text.replace(secret, MASK)
    return text
