"""``/callbacks``: what providers tell by themselves."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from gateway.documents import problems
from gateway.paths import AccountName
from gateway.service import TheService
from worker.steps.notify import take_notification

router = APIRouter(tags=["callbacks"])


async def _body(request: Request) -> bytes:
    return await request.body()


@router.post(
    "/callbacks/{account}",
    summary="Take a provider's notification",
    response_class=Response,
    responses={
        200: {
            "description": "Stored, or not; in the provider's own words.",
            "content": {"text/plain": {}, "application/json": {}},
        },
        **problems(404, 422, 429, 503),
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
