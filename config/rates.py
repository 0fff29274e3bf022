"""Rates as people write them: ``10/second``, ``300/5 minutes``."""

from limits import parse_many


def one_rate(text: str) -> str:
    """The text, if it is one rate that lets something through.

    Raises:
        ValueError: it is none, several, or lets nothing through.
    """
    try:
        (limit,) = parse_many(text)
    except ValueError:
        raise ValueError("must be one rate, such as 10/second or 300/5 minutes") from None
    if limit.amount < 1:
        raise ValueError("must let at least one call through")
    return text
