"""The callers of the store and their rights, by the headers of a request. Pure, except for token reviews."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from edge_api.names import is_runtime_account
from edge_api.store_access import AUDIENCE, NAMESPACE_HEADER
from edge_api.words import shown
from edge_runtime.errors import BadRequest, Forbidden, Unauthenticated

TOKEN_HEADERS: Final = (b"x-edge-authorization", b"authorization")
"""The proxy of an API server removes the second."""

_USER: Final = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_BEARER: Final = re.compile(rb"bearer +([A-Za-z0-9._~+/=-]{1,16384}) *", re.IGNORECASE)
_COMMAND: Final = f"kubectl create token NAME -n NAMESPACE --audience {AUDIENCE}"

Headers = Iterable[tuple[bytes, bytes]]


class Account(NamedTuple):
    """A ServiceAccount."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Caller:
    """namespace: whose files and models are seen; None: all blobs, and what belongs to no namespace.

    writes: may upload and register. measures: may store profiles, which all namespaces share. inherits: may
    register what belongs to no namespace.
    """

    namespace: str | None
    writes: bool
    measures: bool = False
    inherits: bool = False


ANYBODY: Final = Caller(None, writes=True, measures=True)
"""Every caller of a store that requires no tokens."""


class Callers(Protocol):
    """Tells who sends a request."""

    async def caller(self, headers: Headers) -> Caller:
        """Returns who sends a request. Raises Unauthenticated, Forbidden, BadRequest and Unreachable."""


class Everybody:
    """A store that requires no tokens."""

    async def caller(self, headers: Headers) -> Caller:
        return ANYBODY


class Accounts(Protocol):
    """Tells whose token it is."""

    async def account(self, token: str) -> Account:
        """Returns the ServiceAccount of a token. Raises Unauthenticated, Forbidden and Unreachable."""


class TokenHolders:
    """A store that requires tokens. operators act for every namespace, profilers read all of them."""

    def __init__(
        self, accounts: Accounts, operators: Collection[Account] = (), profilers: Collection[Account] = ()
    ) -> None:
        self._accounts, self._operators, self._profilers = accounts, operators, profilers

    async def caller(self, headers: Headers) -> Caller:
        found = dict(headers)
        account = await self._accounts.account(shown_token(found))
        named = _named(found)
        if account in self._operators:
            return Caller(named, writes=named is not None, measures=True, inherits=named is not None)
        if named not in (None, account.namespace):
            raise Forbidden(
                f"{NAMESPACE_HEADER}: {shown(named)} is not the namespace of ServiceAccount "
                f"{account}: only the operator acts for others, use a token of namespace {named}"
            )
        if account in self._profilers:
            return Caller(None, writes=False, measures=True)
        return Caller(account.namespace, writes=not is_runtime_account(account.name))


def account_of(user: str) -> Account:
    """Returns the ServiceAccount of a Kubernetes user name. Raises Forbidden for other users."""
    found = _USER.fullmatch(user)
    if found is None:
        raise Forbidden(
            f"authorization: the token is of user {shown(user)}, not of a ServiceAccount: use {_COMMAND}"
        )
    return Account(*found.groups())


def parsed_account(text: str) -> Account:
    """Returns the ServiceAccount that NAMESPACE/NAME names. Raises ValueError."""
    namespace, _, name = text.partition("/")
    if not _NAMESPACE.fullmatch(namespace) or not name or "/" in name:
        raise ValueError(f'"{text}" is not a ServiceAccount: write NAMESPACE/NAME')
    return Account(namespace, name)


def shown_token(headers: Mapping[bytes, bytes]) -> str:
    """Returns the token of a request. Raises Unauthenticated without one."""
    value = next((headers[name] for name in TOKEN_HEADERS if name in headers), None)
    if value is None:
        raise Unauthenticated(
            f"authorization: missing: send Authorization: Bearer TOKEN (X-Edge-Authorization through the API "
            f"server's proxy), with a token from {_COMMAND}"
        )
    found = _BEARER.fullmatch(value)
    if found is None:
        raise Unauthenticated(f"authorization: not of the form Bearer TOKEN: use a token from {_COMMAND}")
    return found[1].decode()


def _named(headers: dict[bytes, bytes]) -> str | None:
    value = headers.get(NAMESPACE_HEADER.encode())
    if value is None:
        return None
    name = value.decode("latin-1")
    if not _NAMESPACE.fullmatch(name):
        raise BadRequest(f"{NAMESPACE_HEADER}: {shown(name)} is not the name of a namespace")
    return name
