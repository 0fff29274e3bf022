"""Reads a JSON body strictly; only for callers that are known."""

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, NoReturn, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from gateway.entry import KnownCaller
from gateway.problems import Problem

_JSON: Final = "application/json"

Model = TypeVar("Model", bound=BaseModel)


async def _read(request: Request, _caller: KnownCaller) -> Any:
    kind, _, charset = request.headers.get("content-type", "").lower().partition(";")
    if kind.strip() != _JSON or charset.strip() not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise Problem(415, "not_json", f"send {_JSON}, in UTF-8")
    return parse(await request.body())


def parse(body: bytes) -> Any:
    """A JSON text's value: UTF-8, no name twice in an object, no NaN.

    Raises:
        Problem: it is none.
    """
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise _malformed("it is nested too deeply") from None
    except ValueError as error:
        raise _malformed(str(error)) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _malformed(why: str) -> Problem:
    return Problem(400, "malformed", f"the body is not JSON: {why}")


#: The body's value, whatever it is.
JsonBody = Annotated[Any, Depends(_read)]


def body_of(model: type[Model]) -> Callable[[Any], Awaitable[Model]]:
    """A dependency: the body as a model. Raises Problem with a sentence for every wrong field."""

    async def read(body: JsonBody) -> Model:
        try:
            return model.model_validate(body)
        except ValidationError as error:
            problems = [_sentence(problem) for problem in error.errors(include_input=False)]
            raise Problem(422, "invalid", "; ".join(problems), problems=problems) from None

    return read


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "the body"
    return f"{where}: {problem['msg']}"
