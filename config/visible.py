"""Text of strangers on its way to a terminal or a log: nothing in it starts a line or is obeyed.

Terminals obey escape sequences, some also those of one character beyond ASCII (U+009B); readers
take U+0085 and U+2028 for the end of a line, and U+202E turns around what follows.
"""

import json
from typing import Any, Final

#: What a spreadsheet takes for the beginning of a formula, the wide forms of East Asia too.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def visible(text: str) -> str:
    """One line: what is no visible character is escaped, as Python writes it."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def visible_lines(text: str) -> str:
    """The same of a text of several lines."""
    return "\n".join(map(visible, text.split("\n")))


def unformulated(cell: object) -> str:
    """Text that stays text in a spreadsheet: an apostrophe goes before what begins a formula."""
    text = "" if cell is None else visible(str(cell))
    return f"'{text}" if text.startswith(_FORMULA) else text


def json_line(value: object, **how: Any) -> str:
    """One JSON value on one line; what is no visible character is escaped, as JSON writes it."""
    text = json.dumps(value, ensure_ascii=False, **how)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)
