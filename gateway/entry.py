"""Who may come in: bearer tokens, each for some accounts."""

from typing import Annotated, Final

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.paths import AccountName
from gateway.problems import Problem
from gateway.service import TheService
from worker.steps.api_tokens import Caller, recognise

_SCHEME: Final = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token of `refundry token create`; it is for some accounts, or for all.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_SCHEME)]


def _recognise(service: TheService, credentials: Credentials) -> Caller:
    if credentials is None:
        raise _unauthorised("give a token: Authorization: Bearer …", "Bearer")
    caller = recognise(service.runtime.ledger, credentials.credentials)
    if caller is None:
        raise _unauthorised("the token is unknown or revoked", 'Bearer error="invalid_token"')
    service.rates.count_request(caller.name)
    return caller


def _unauthorised(detail: str, challenge: str) -> Problem:
    return Problem(401, "unauthorised", detail, headers={"WWW-Authenticate": challenge})


#: A caller whose token is good, whatever it is for.
KnownCaller = Annotated[Caller, Depends(_recognise)]


def require(caller: Caller, account: str) -> None:
    """Raises Problem if the token is not for the account, whether or not there is one."""
    if not caller.may_use(account):
        raise Problem(403, "forbidden", "the token is not for this account")


def _allowed(caller: KnownCaller, account: AccountName) -> str:
    require(caller, account)
    return account


#: The account of the path, which the caller's token is for.
AllowedAccount = Annotated[str, Depends(_allowed)]
