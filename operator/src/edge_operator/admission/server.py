"""The webhook over HTTP: `POST /review` for the API server, `GET /readyz` and `/healthz` for the kubelet.

A request without a verdict gets an error status: the failure policy of the webhook's configuration decides
then. Bounded: LARGEST bytes and DEADLINE seconds a review, and few at once.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edge_operator.admission import metrics, requests
from edge_operator.admission.reviewing import review
from edge_operator.admission.states import State
from edge_operator.admission.verdicts import Verdict
from edge_operator.errors import ReviewError

LARGEST: Final = 8 * 1024 * 1024
"""Bytes of a request: the API server accepts objects of 3 MiB, and sends the former one, too."""
DEADLINE: Final = 4.0
"""Seconds from the request to the verdict."""
_REVIEWS: Final = 4
_log = logging.getLogger(__name__)


class Server:
    """The ASGI application."""

    def __init__(
        self,
        state: Callable[[], State],
        missing: Callable[[], Collection[str]],
        *,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """missing: the kinds that were not read yet, by plural."""
        self._state, self._missing, self._deadline, self._clock = state, missing, deadline, clock
        self._threads = ThreadPoolExecutor(_REVIEWS, thread_name_prefix="review")

    def app(self) -> Starlette:
        """Returns the application."""
        return Starlette(
            routes=[
                Route("/review", self.review, methods=["POST"]),
                Route("/readyz", self.ready),
                Route("/healthz", self.health),
            ]
        )

    async def health(self, _: HttpRequest) -> Response:
        """Responds as long as the process does."""
        return PlainTextResponse("ok")

    async def ready(self, _: HttpRequest) -> Response:
        """Responds with 503 until every kind was read."""
        missing = self._missing()
        metrics.READY.set(0 if missing else 1)
        if missing:
            return PlainTextResponse(f"not read yet: {', '.join(missing)}", 503)
        return PlainTextResponse("ok")

    async def review(self, request: HttpRequest) -> Response:
        """Responds with an AdmissionReview; 400, 413, 503 or 504 without a verdict."""
        began = self._clock()
        try:
            async with asyncio.timeout(self._deadline):
                response, outcome = await self._answered(request)
        except TimeoutError:
            _log.warning("a review took longer than %.1f s", self._deadline)
            response, outcome = PlainTextResponse("the review took too long", 504), "failed"
        metrics.REVIEWS.labels(outcome).inc()
        metrics.REVIEW_SECONDS.observe(self._clock() - began)
        return response

    async def _answered(self, request: HttpRequest) -> tuple[Response, str]:
        if missing := self._missing():
            return PlainTextResponse(f"not read yet: {', '.join(missing)}", 503), "failed"
        try:
            body = await _body(request)
            loop = asyncio.get_running_loop()
            uid, verdict = await loop.run_in_executor(self._threads, self._verdict, body)
        except ReviewError as error:
            return PlainTextResponse(str(error), 400), "failed"
        except HTTPException as error:
            return PlainTextResponse(error.detail, error.status_code), "failed"
        except Exception:
            _log.exception("a review failed")
            return PlainTextResponse("the review failed: see the log of the webhook", 500), "failed"
        return JSONResponse(requests.answer(uid, verdict)), verdict.outcome

    def _verdict(self, body: bytes) -> tuple[str, Verdict]:
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ReviewError(f"body: not JSON ({error}): send an AdmissionReview") from error
        request = requests.read(found)
        return request.uid, review(request, self._state())


async def _body(request: HttpRequest) -> bytes:
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            raise HTTPException(413, f"body: larger than {LARGEST} bytes")
        parts.append(part)
    return b"".join(parts)
