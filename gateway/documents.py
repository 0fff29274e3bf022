"""The OpenAPI document: bodies and problems that the framework does not read itself."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from gateway.problems import MEDIA_TYPE
from gateway.shapes import ProblemShown, Release, Resubmission
from refundry import RefundRequest

_REF: Final = "#/components/schemas/"
#: What the framework does not know to be a part of the API.
_MODELS: Final = (RefundRequest, Release, Resubmission, ProblemShown)
#: These may come of any request, before it is looked at.
_OF_ANY: Final = (400, 408, 413, 415, 500, 503)
_HEADERS: Final = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer"}}},
    503: {"Retry-After": {"schema": {"type": "integer"}}},
}
_WHEN: Final = {
    400: "The body is not JSON.",
    401: "The token is missing, unknown or revoked.",
    403: "The token is not for this account.",
    404: "There is no such thing, or it was refused (`refused` says why).",
    408: "The body came too slowly.",
    409: "It contradicts what is there; `code` says how.",
    413: "The body is too large.",
    415: "The body is of another kind than JSON, or encoded.",
    422: "A field is wrong; `problems` has a sentence for each.",
    429: "Too many requests.",
    500: "The service failed; the same request again is safe.",
    503: "The service cannot answer now; send the same request again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, as its ``responses``."""
    return {status: _problem(status) for status in sorted({*statuses, *_OF_ANY})}


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": _WHEN.get(status, HTTPStatus(status).phrase),
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}{ProblemShown.__name__}"}}},
        "headers": _HEADERS.get(status, {}),
    }


def body(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """A JSON body, as a route's ``openapi_extra``."""
    content = {"schema": {"$ref": f"{_REF}{model.__name__}"}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = app.openapi_schema.setdefault("components", {}).setdefault("schemas", {})
        for model in _MODELS:
            schema = model.model_json_schema(ref_template=f"{_REF}{{model}}")
            schemas |= schema.pop("$defs", {})
            schemas[model.__name__] = schema
    return app.openapi_schema
