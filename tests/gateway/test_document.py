"""The gateway does what its OpenAPI document says, whatever is sent to it."""

import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from gateway.app import make_app
from gateway.documents import document
from gateway.service import Service
from tests.databases import migrated
from tests.gateway.harness import KNOWN, Gateway

#: Drawn of each route, beside the boundaries of every field.
EXAMPLES = 30
#: That amounts fit together, and that an account is there, no schema can say.
LEFT_OUT = [positive_data_acceptance]


def narrowed() -> dict[str, Any]:
    """The document, whose accounts and examples are those of the gateway that is asked."""
    text = json.dumps(document(make_app(cast(Service, None))))  # it needs no service
    found: dict[str, Any] = json.loads(text.replace("shop-hkrt", "shop"))
    operations = [one for path in found["paths"].values() for one in path.values()]
    for parameter in (field for one in operations for field in one.get("parameters", [])):
        if parameter["name"] == "account":
            parameter["schema"]["enum"] = list(KNOWN)
    found["components"]["schemas"]["RefundRequest"]["properties"]["account"]["enum"] = list(KNOWN)
    return found


schema = schemathesis.openapi.from_dict(narrowed())


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, valkey: str) -> Iterator[Gateway]:
    """A gateway whose log must show no fault in the end."""
    folder = tmp_path_factory.mktemp("fuzzed")
    with (
        migrated(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger,
        Gateway(folder, ledger, valkey) as one,
    ):
        yield one
        assert "gateway.fault" not in one.log()


def make_test(operation_id: str) -> Callable[..., None]:
    """The test of one operation; all of them in one function would share an id."""

    @schema.include(operation_id=operation_id).parametrize()
    @settings(max_examples=EXAMPLES, deadline=None)
    def test(case: Any, fuzzed: Gateway) -> None:
        case.call_and_validate(
            base_url=fuzzed.url, headers=fuzzed.headers, excluded_checks=LEFT_OUT, timeout=30
        )

    return cast(Callable[..., None], test)


#: As the document calls them.
OPERATIONS = [one["operationId"] for path in narrowed()["paths"].values() for one in path.values()]
for name in OPERATIONS:
    globals()[f"test_{name}_does_what_the_document_says"] = make_test(name)
