"""``/orders``: keep an order's refunds from being sent while something else is under way."""

from typing import Annotated

from fastapi import APIRouter, Depends

from gateway.decode import body_of
from gateway.documents import body, problems
from gateway.entry import AllowedAccount
from gateway.paths import OrderNumber
from gateway.service import TheService
from gateway.shapes import Held, Release, Released
from worker.steps.holds import hold_order, release_order

router = APIRouter(tags=["orders"])


@router.post(
    "/orders/{account}/{order_no}/hold",
    response_model=Held,
    summary="Hold an order",
    responses=problems(401, 403, 404, 409, 413, 415, 422, 429, 503),
)
def hold(service: TheService, account: AllowedAccount, order_no: OrderNumber) -> Held:
    """Refused with 409 while a refund of the order is under way; never ends by itself."""
    token = hold_order(service.runtime, account, order_no)
    return Held(account=account, order_no=order_no, token=token)


@router.post(
    "/orders/{account}/{order_no}/release",
    response_model=Released,
    summary="Release a held order",
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    openapi_extra=body(Release, {"token": "0f3c9d0e5b7a4c1f8e2d6b9a7c5e3f10"}),
)
def release(
    service: TheService,
    account: AllowedAccount,
    order_no: OrderNumber,
    asked: Annotated[Release, Depends(body_of(Release))],
) -> Released:
    """With the token of its hold."""
    service.bell.ring(release_order(service.runtime, account, order_no, asked.token))
    return Released(account=account, order_no=order_no)
