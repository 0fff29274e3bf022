"""Errors as problem+json (RFC 9457): what was wrong and what to do, and nothing of the inside."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from worker.errors import Refused, ServiceAway
from worker.ledger.journal import storable

_log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
#: When to come back to a service that is away: a restart takes seconds.
RETRY_AFTER_S: Final = 5

#: The status of each code that a step refuses with; any other is a conflict with what is there.
_STATUS_OF: Final = {
    "invalid": 422,
    "not_found": 404,
    "unknown_account": 404,
    "no_notifications": 404,
    "personal_key": 503,
}
#: What the framework refuses: the code, and what to do.
_OF_FRAMEWORK: Final = {
    404: ("no_such_page", "there is no such page; /openapi.json lists those that there are"),
    405: ("method_not_allowed", "the page takes another method; /openapi.json says which"),
}
#: What a step says to operators names other accounts; callers are told only this.
_INSTEAD: Final = {
    "unknown_account": "there is no such account",
    "no_notifications": "this account takes no notifications",
}


class Problem(Exception):
    """Raised when a request is answered with an error.

    Args:
        status: of the answer.
        code: for programs, stable.
        detail: for people; what was wrong and what to do.
        headers: further headers of the answer.
        problems: a sentence for every wrong field.
        more: further members of the problem.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        problems: Sequence[str] = (),
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.more = more | ({"problems": list(problems)} if problems else {})

    def response(self) -> Response:
        """The answer, without control characters, whoever wrote its texts."""
        body = {
            "type": f"urn:refundry:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        } | self.more
        text = json.dumps(_clean(body), default=str)
        return Response(text, self.status, self.headers, MEDIA_TYPE)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {name: _clean(member) for name, member in value.items()}
    return [_clean(member) for member in value] if isinstance(value, list | tuple) else value


def of_refusal(refusal: Refused) -> Problem:
    """What a step's refusal is by HTTP."""
    status = _STATUS_OF.get(refusal.code, 409)
    detail = _INSTEAD.get(refusal.code, str(refusal))
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    return Problem(status, refusal.code, detail, headers=headers, problems=refusal.problems)


def away() -> Problem:
    """The ledger does not answer: nothing was done, or the same may be asked again."""
    return Problem(
        503,
        "service_away",
        "the service cannot answer now; send the same request again",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def fault() -> Problem:
    """The service failed; the log says how."""
    return Problem(500, "internal", "the service failed; sending the same request again is safe")


def install(app: FastAPI) -> None:
    """Answer everything that is raised with a problem."""
    app.add_exception_handler(Problem, _of_problem)
    app.add_exception_handler(Refused, _of_refused)
    app.add_exception_handler(ServiceAway, _of_away)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(HTTPException, _of_framework)


async def _of_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _of_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return of_refusal(error).response()


async def _of_away(_: Request, error: Exception) -> Response:
    _log.warning("gateway.away", error=str(error))
    return away().response()


async def _of_parameters(_: Request, error: Exception) -> Response:
    """Of a path or query; bodies are read by :mod:`gateway.decode`."""
    assert isinstance(error, RequestValidationError)
    problems = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
    return Problem(422, "invalid", "; ".join(problems), problems=problems).response()


async def _of_framework(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    otherwise = HTTPStatus(status).name.lower(), str(error.detail)
    code, detail = _OF_FRAMEWORK.get(status, otherwise)
    return Problem(status, code, detail, headers=dict(error.headers or {})).response()
