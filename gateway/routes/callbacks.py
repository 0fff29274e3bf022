"""``/callbacks``: what providers tell by themselves."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from gateway.documents import problems
from gateway.paths import AccountName
from gateway.problems import MEDIA_TYPE
from gateway.service import TheService
from worker.steps.notify import take_notification

router = APIRouter(tags=["callbacks"])


#: What an acknowledgement may be.
_WORDS: Final[dict[str, Any]] = {"text/plain": {}, "application/json": {}}


async def _body(request: Request) -> bytes:
    return await request.body()


@router.post(
    "/callbacks/{account}",
    summary="Take a provider's notification",
    response_class=Response,
    responses=problems(404, 422, 429, 503)
    | {
        200: {"description": "It is stored; in the provider's own words.", "content": _WORDS},
        400: {
            "description": "It is not, in the provider's own words; or it is no request.",
            "content": _WORDS | {MEDIA_TYPE: {}},
        },
    },
    openapi_extra={"requestBody": {"required": True, "content": {"*/*": {}}}},
)
def take_callback(
    service: TheService,
    request: Request,
    account: AccountName,
    body: Annotated[bytes, Depends(_body)],
) -> Response:
    """Needs no token: the provider's signature is the proof. Answered once it is stored."""
    address = request.client.host if request.client else ""
    service.rates.count_callback(address, account if account in service.runtime.lines else "")
    content_type = request.headers.get("content-type", "")
    taken = take_notification(service.runtime, account, content_type, body)
    if taken.wake is not None:
        service.bell.ring(taken.wake)
    answer = taken.answer
    return Response(answer.body, answer.status, {"Content-Type": answer.content_type})
