"""The HTTP server: the page's files, what they request, and streams of server-sent events.

Every request under /api/ has a bearer token in its `Authorization` header. There are no cookies, so a request
that another page causes has no token.
"""

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import Final, TypeVar

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_console.errors import ConsoleError, TooManyError, UnauthenticatedError, UnavailableError
from edge_console.fields import Json
from edge_console.planning import LARGEST, Plans
from edge_console.recent import Samples
from edge_console.rights import Sight
from edge_console.security import HEADERS
from edge_console.seen import Seen
from edge_console.streams import Page
from edge_console.viewers import Viewers
from edge_console.views.services import Rows
from edge_operator.cluster import INFERENCE_SERVICES, PLACEMENTS
from edge_operator.explaining.overlays import Mirrored
from edge_operator.observed.watching import Watching

TICK: Final = 1.0
"""Least seconds between two updates of a page."""
QUIET: Final = 15.0
"""Seconds after which a stream without changes says that it is alive, and rights are looked up again."""
UNCONFIRMED: Final = 300.0
"""Seconds for which a page stays open while the API server cannot review its viewer's rights."""
STREAMS: Final = 64
STREAMS_OF_A_VIEWER: Final = 6
_REVIEWS = 8
_log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Console:
    """What requests are answered from."""

    watching: Watching
    viewers: Viewers
    plans: Plans
    samples: Samples


class Server:
    """The ASGI application and its open streams."""

    def __init__(self, console: Console) -> None:
        self._console, self._rows = console, Rows()
        self._reviews = ThreadPoolExecutor(_REVIEWS, thread_name_prefix="reviews")
        self._views = ThreadPoolExecutor(2, thread_name_prefix="views")
        self._streams: dict[str, int] = {}
        self._changed = asyncio.Event()

    def app(self) -> Starlette:
        """Returns the application."""
        routes = [
            Route("/healthz", self.health),
            Route("/api/viewer", self.viewer),
            Route("/api/stream", self.stream),
            Route("/api/services/{namespace}/{name}/explanation", self.explanation),
            Route("/api/services/{namespace}/{name}/what-if", self.what_if, methods=["POST"]),
            Route("/api/pools/{name}/usage", self.usage),
            Mount("/", StaticFiles(directory=str(resources.files("edge_console") / "pages"), html=True)),
        ]
        return Starlette(
            routes=routes,
            middleware=[Middleware(Guarded)],
            exception_handlers={ConsoleError: refused},
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def changed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._wake)

        self._console.watching.on_change(changed)
        yield
        self._reviews.shutdown(wait=False, cancel_futures=True)
        self._views.shutdown(wait=False, cancel_futures=True)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def health(self, _: Request) -> Response:
        """Whether all kinds were read once: a page before that would be half empty."""
        missing = self._console.watching.missing
        if missing:
            return PlainTextResponse(f"not read yet: {', '.join(missing)}\n", 503)
        return PlainTextResponse("ok\n")

    async def viewer(self, request: Request) -> Response:
        """Who views, and what they see."""
        sight = await self._sight(request)
        return JSONResponse(
            {
                "user": sight.user,
                "namespaces": sorted(sight.namespaces),
                "pools": sight.pools,
                "tenants": sight.tenants,
            }
        )

    async def explanation(self, request: Request) -> Response:
        """Why the routes of a service are as they are."""
        sight, key = await self._sight(request), _service(request)
        return await self._plan(lambda: self._console.plans.explanation(sight, *key))

    async def what_if(self, request: Request) -> Response:
        """What a service would get under a supposition."""
        sight, key = await self._sight(request), _service(request)
        body = await _body(request)
        return await self._plan(lambda: self._console.plans.what_if(sight, *key, body))

    async def usage(self, request: Request) -> Response:
        """What services use of a pool."""
        sight, pool = await self._sight(request), request.path_params["name"]
        return await self._plan(lambda: self._console.plans.usage(sight, pool))

    async def stream(self, request: Request) -> Response:
        """The state that the page shows, and its changes."""
        token = token_of(request.headers)
        sight = await self._sight(request)
        asked = request.query_params
        watched = {name: asked[name] for name in ("service", "pool") if name in asked}
        opened = self._streams.get(sight.user, 0)
        if opened >= STREAMS_OF_A_VIEWER or sum(self._streams.values()) >= STREAMS:
            raise TooManyError("too many open pages: close others", 5.0)
        page = Page(self._console.samples, self._rows, watched)
        return StreamingResponse(
            self._events(token, sight, page),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _events(self, token: str, sight: Sight, page: Page) -> AsyncIterator[str]:
        user, loop = sight.user, asyncio.get_running_loop()
        told = confirmed = loop.time()
        self._streams[user] = self._streams.get(user, 0) + 1
        try:
            while True:
                changed = self._changed
                seen = Seen(Mirrored(self._console.watching.mirror), sight)
                updates = await _in(self._views, functools.partial(page.updates, seen))
                # Changes that the viewer does not see send nothing, not even a sign of life.
                if updates or loop.time() - told >= QUIET:
                    told = loop.time()
                    yield "".join(_event(name, data) for name, data in updates) or ": alive\n\n"
                await asyncio.sleep(TICK)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), QUIET)
                # Kept verdicts make this cheap until a minute is over.
                try:
                    sight, confirmed = await self._sight_of(token), loop.time()
                except UnauthenticatedError as error:
                    yield _event("end", {"message": str(error)})
                    return
                except UnavailableError as error:
                    if loop.time() - confirmed >= UNCONFIRMED:
                        yield _event("end", {"message": f"your rights cannot be reviewed: {error}"})
                        return
                    _log.warning("%s: a page keeps its last rights for now", error)
        finally:
            self._streams[user] -= 1
            if not self._streams[user]:
                del self._streams[user]

    async def _sight(self, request: Request) -> Sight:
        return await self._sight_of(token_of(request.headers))

    async def _sight_of(self, token: str) -> Sight:
        mirror = self._console.watching.mirror
        namespaces = mirror.namespaces(INFERENCE_SERVICES.kind) | mirror.namespaces(PLACEMENTS.kind)
        return await _in(self._reviews, lambda: self._console.viewers.sight(token, namespaces))

    async def _plan(self, make: Callable[[], Json]) -> Response:
        if self._console.watching.missing:
            raise UnavailableError("the console has not read the cluster yet: try again in a few seconds")
        return JSONResponse(await _in(self._console.plans.threads, make))


async def _in(threads: ThreadPoolExecutor, make: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(threads, make)


def _service(request: Request) -> tuple[str, str]:
    return request.path_params["namespace"], request.path_params["name"]


async def _body(request: Request) -> bytes:
    """Returns the body, or the part of it that is already too long."""
    found = b""
    async for part in request.stream():
        found += part
        if len(found) > LARGEST:
            break
    return found


def token_of(headers: Headers) -> str:
    """Returns the bearer token of a request. Raises UnauthenticatedError."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("authorization: no bearer token: send `Authorization: Bearer TOKEN`")
    return token.strip()


def _event(name: str, data: Json) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


async def refused(_: Request, error: Exception) -> Response:
    """The response to a request that is not carried out."""
    assert isinstance(error, ConsoleError)
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, TooManyError):
        headers["Retry-After"] = str(max(1, round(error.seconds)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"message": str(error)}, error.status, headers)


class Guarded:
    """Adds the headers of `security` to every response, and keeps responses out of caches."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store" if scope["path"].startswith("/api/") else "no-cache"
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)
