"""What a log is told of a fault that nobody foresaw."""

import traceback

from sqlalchemy.exc import DBAPIError


def fault(error: BaseException) -> dict[str, str]:
    """Of which kind and where it is. Its words may hold a key or what is personal.

    Those of the database do not: :mod:`worker.ledger.engine` hides the values.
    """
    told = {"kind": type(error).__name__}
    if isinstance(error, DBAPIError):
        told["error"] = str(error)
    return told | {"trace": "".join(traceback.format_tb(error.__traceback__))}
