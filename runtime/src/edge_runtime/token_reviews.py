"""Whose tokens the callers of the model store show: the API server reviews them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from edge_runtime.api_server import ACCOUNT, ApiServer, excerpt
from edge_runtime.connections import Resolver, Response
from edge_runtime.errors import NotFound, Unreachable

_REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


@dataclass(frozen=True, slots=True)
class Review:
    """What the API server found about a token. user: empty if the token is not valid; then `why` tells."""

    user: str = ""
    why: str = ""


class TokenReviews:
    """Reviews of tokens for one audience, requested with the pod's service account."""

    def __init__(self, audience: str, url: str, resolver: Resolver, account: Path = ACCOUNT) -> None:
        self._server, self._audience = ApiServer(url, resolver, account), audience

    async def review(self, token: str) -> Review:
        """Returns the user of a token. Raises Unreachable."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        response = await self._sent(orjson.dumps(asked))
        try:
            status = response.json()["status"]
            if not status.get("authenticated"):
                return Review(why=str(status.get("error") or "the API server does not know it"))
            # An authenticator that knows no audiences leaves them out: its token is for another audience.
            if self._audience not in (status.get("audiences") or ()):
                return Review(why=f"it is not for audience {self._audience}")
            return Review(str(status["user"]["username"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = excerpt(response)
            raise Unreachable(f"API server: response to a TokenReview cannot be read: {said}") from error

    async def _sent(self, review: bytes) -> Response:
        try:
            return await self._server.call("POST", _REVIEWS, review)
        except NotFound as error:  # says nothing about the token
            raise Unreachable(str(error)) from error
        finally:
            self._server.close()  # reviews are rare: no connection waits for the next
