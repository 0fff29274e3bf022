"""The application: routes, errors and bounds, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.routing import APIRoute

from gateway import problems
from gateway.documents import document
from gateway.edge import Edge
from gateway.routes import callbacks, health, orders, refunds
from gateway.service import Service
from worker.ledger.engine import POOL_SIZE

_DESCRIPTION: Final = (
    "Refunds of applications without Celery, and providers' callbacks. Amounts are integer fen; "
    "errors are problem+json (RFC 9457)."
)


def make_app(service: Service) -> FastAPI:
    """The gateway around a service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # A thread more than the ledger has connections would only wait for one.
        current_default_thread_limiter().total_tokens = POOL_SIZE
        yield
        service.close()

    app = FastAPI(
        title="Refundry",
        version=version("refundry"),
        description=_DESCRIPTION,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_name,
        lifespan=lifespan,
    )
    app.state.service = service
    app.add_middleware(Edge)
    problems.install(app)
    for part in (refunds, orders, callbacks, health):
        app.include_router(part.router)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def _name(route: APIRoute) -> str:
    return route.name
