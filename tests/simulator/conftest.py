"""Numbers of the tests' own."""

from itertools import count

import pytest

_NUMBERS = count(1)


@pytest.fixture
def refund() -> str:
    return f"REFUND{next(_NUMBERS):06d}"
