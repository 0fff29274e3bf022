"""Rubbish in a right and rightly signed answer decides nothing by itself, and raises nothing."""

import json

import pytest

from tests.providers.test_untrusted import BEARS_OUT, FINAL, PROVIDERS, RIGHT, body_of, names, shown

#: JSON texts that no writer of ours would make, each in the place of any field.
RUBBISH = [
    *("1e999", "-0", "1E400", "18446744073709551616", "9" * 5000, "-" + "9" * 5000),
    *("0." + "5" * 5000, "true", '"\\u0000"', '"SUCCESS\\u0000"', '"\\u001b[31m"'),
    *('"\\ufeffSUCCESS"', '"SUCCESS\\n"', '"\\u0085\\u2028\\u202e"', '"１"', '"<!DOCTYPE a>"'),
    *(json.dumps("x" * 100_000), '["SUCCESS"]', "[" * 12 + "]" * 12),
    '{"a":' * 12 + "1" + "}" * 12,
]


@names
@pytest.mark.parametrize("text", RUBBISH, ids=lambda text: text[:20])
def test_a_field_of_rubbish_bears_nothing_out(name: str, text: str) -> None:
    answer = RIGHT[name]
    inner = answer.get("data")
    for place in [answer, *([inner] if isinstance(inner, dict) else [])]:
        for field in place:
            spoilt = {**place, field: "RUBBISH"}
            whole = spoilt if place is answer else {**answer, "data": spoilt}
            body = body_of(name, json.dumps(whole).replace('"RUBBISH"', text))
            for outcome in shown(PROVIDERS[name], body):
                if outcome.verdict in FINAL:
                    assert BEARS_OUT[name](whole, outcome.verdict), (field, outcome)
