"""The only caller of Triton's model control: what is loaded, load, unload."""

import asyncio
import base64
import contextlib
import json
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import aiohttp
import httpx
import numpy as np
import numpy.typing as npt
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

from edge_api.tensors import Tensor
from edge_operator.certificates import client_context, words
from edge_operator.errors import (
    CertificatesError,
    ControlDeniedError,
    TailRefusedError,
    TritonError,
    TritonUnreachableError,
    TritonUntrustedError,
)
from edge_operator.store import Blob
from edge_operator.tritons import grpc_control
from edge_operator.tritons.control_keys import ControlKeys
from edge_operator.tritons.tail_models import Tail, model_config, sources

T = TypeVar("T")
Arrays = Mapping[str, "npt.NDArray[Any]"]
Opener = Callable[[], AbstractContextManager[Blob]]
"""Opens a slice's file; called when its load request begins."""
_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 120.0
UNLOAD = 7.0
"""Seconds that an unload takes at most: Triton responds before it has freed the model."""
_GATEWAY = {"502", "503", "504"}
_UNKNOWN_MODEL = {"400", "404"}
_DENIED = {"403"}
_KEY = "name the Secret with the server's key in controlSecret of the server in the DevicePool"
_CHUNK = 3 << 18  # bytes of a file that are encoded at a time
_ENDED = (
    ConnectionResetError,
    BrokenPipeError,
    aiohttp.ServerDisconnectedError,
    httpx.RemoteProtocolError,
)
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Timed:
    """The outputs of a model by name, and the seconds of each request as the server measured them."""

    outputs: Arrays
    seconds: tuple[float, ...]


class Triton(Protocol):
    """Triton servers as a reconcile uses them; `address` is http(s)://host:port of the HTTP endpoint."""

    def ready(self, address: str) -> frozenset[str]: ...
    def parameters(self, address: str, name: str) -> Mapping[str, str]: ...
    def load(self, tail: Tail, onnx: Opener) -> None: ...
    def unload(self, address: str, name: str) -> None: ...
    def control_open(self, address: str) -> bool: ...
    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> "Timed": ...


class TritonServers:
    """`Triton` over tritonclient. Blocking: call it off the event loop, from any thread.

    Each call has its own client. A call to an https address reads `certificates` again and therefore uses a
    renewed one.
    """

    def __init__(self, certificates: Path | None = None, keys: ControlKeys | None = None) -> None:
        """keys: of servers that require one; sent with requests for model control alone."""
        self._certificates, self._keys = certificates, keys

    def ready(self, address: str) -> frozenset[str]:
        """Returns the names of the models that are ready.

        Read from the statistics: the repository index lists folders, and a model that was sent with its load
        request has none.
        """
        with self._errors(address, f"listing the models of Triton at {address}") as context:
            return _run(_request(address, context, _models))

    def parameters(self, address: str, name: str) -> Mapping[str, str]:
        """Returns the parameters in the configuration of a model; empty if it is not loaded."""
        with self._errors(address, f"reading the configuration of {name} at {address}") as context:
            try:
                config = _run(_request(address, context, lambda client: client.get_model_config(name)))
            except InferenceServerException as error:
                if error.status() in _UNKNOWN_MODEL and error.debug_details() is None:
                    return {}
                raise
        found = config.get("parameters") or {}
        return {key: str(value.get("string_value", "")) for key, value in found.items()}

    def load(self, tail: Tail, onnx: Opener) -> None:
        """Loads the slice under the tail's name and returns once it is ready. Raises TailRefusedError."""
        doing = f"loading {tail.name} into Triton at {tail.address}"
        with self._errors(tail.address, doing) as context:
            headers = self._headers(tail.address)
            with onnx() as blob:
                _send(tail, blob, context, headers)
            ready = _run(_request(tail.address, context, _models))
        if tail.name not in ready:
            raise TailRefusedError(
                f"{doing} failed: Triton accepted the model but it is not ready: read the log of Triton"
            )

    def unload(self, address: str, name: str) -> None:
        """Unloads a model; does nothing if it is not loaded."""
        with self._errors(address, f"unloading {name} from Triton at {address}") as context:
            headers = self._headers(address)
            _run(_unloaded(address, context, name, headers))

    def control_open(self, address: str) -> bool:
        """Whether the server accepts model control without a key. address: also grpc(s)://host:port."""
        if address.startswith("grpc"):
            return grpc_control.control_open(address, self._certificates)
        with self._errors(address, f"checking model control of Triton at {address}") as context:
            try:
                _run(_request(address, context, lambda client: client.get_model_repository_index()))
            except InferenceServerException as error:
                if error.status() in _DENIED:
                    return False
                raise
        return True

    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> Timed:
        """Runs a loaded model on `feeds`: once to warm it up, then `runs` times.

        The time of a request is the growth of the model's statistics, which do not contain the network.
        """
        with self._errors(address, f"measuring {name} at {address}") as context:
            return _run(_request(address, context, lambda client: _timed(client, name, feeds, runs)))

    def _headers(self, address: str) -> dict[str, str]:
        key = self._keys.key(address) if self._keys is not None else None
        return {} if key is None else {key.header: key.key}

    @contextlib.contextmanager
    def _errors(self, address: str, doing: str) -> Iterator[ssl.SSLContext | None]:
        """Yields the TLS context for the address, if any, and raises TritonError for what fails."""
        context = None
        try:
            if address.startswith("https://"):
                context = _context(self._certificates)
            yield context
        except CertificatesError as error:
            raise TritonUntrustedError(f"{doing} failed: {error}") from error
        except InferenceServerException as error:
            if error.status() in _DENIED and error.debug_details() is None:
                if self._keys is not None:
                    self._keys.forget(address)
                raise ControlDeniedError(f"{doing} failed: {_said(error)}: {_KEY}") from error
            raise _refusal(doing, error) from error
        except (OSError, aiohttp.ClientError, httpx.HTTPError) as error:
            raise _unreached(doing, error, tls=context is not None) from error


def _run(request: Coroutine[Any, Any, T]) -> T:
    """Runs a request in an event loop of its own.

    asyncio.run looks through the tasks of all loops of the process for those to cancel, and kopf has a task
    for each object that changes.
    """
    loop, begun = asyncio.new_event_loop(), list[asyncio.Task[Any]]()

    def task(
        _: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], **more: object
    ) -> "asyncio.Task[T]":
        made = asyncio.Task(coroutine, loop=loop, **more)  # type: ignore[arg-type]
        begun.append(made)
        return made

    loop.set_task_factory(task)  # type: ignore[arg-type]
    try:
        return loop.run_until_complete(request)
    finally:
        loop.run_until_complete(_ended([each for each in begun if each.cancel()]))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _ended(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _models(client: "tritonclient.http.aio.InferenceServerClient") -> frozenset[str]:
    statistics = await client.get_inference_statistics()
    return frozenset(entry["name"] for entry in statistics["model_stats"])


def zeros(tensor: Tensor, shape: Sequence[int] | None = None) -> "npt.NDArray[Any]":
    """Returns an input of zeros, or of empty texts, in a shape; by default open dimensions are 1."""
    shape = [1 if size < 0 else size for size in tensor.shape] if shape is None else shape
    if tensor.datatype == "BYTES":
        return np.full(shape, b"", dtype=np.object_)
    return np.zeros(shape, triton_to_np_dtype(tensor.datatype))


async def _timed(
    client: "tritonclient.http.aio.InferenceServerClient", name: str, feeds: Arrays, runs: int
) -> Timed:
    inputs = []
    for tensor, array in feeds.items():
        sent = np.atleast_1d(array)  # Triton has no tensors without dimensions
        given = tritonclient.http.aio.InferInput(tensor, list(sent.shape), np_to_triton_dtype(sent.dtype))
        inputs.append(given.set_data_from_numpy(sent))
    response = await client.infer(name, inputs)
    described = response.get_response()["outputs"]
    outputs = {each["name"]: response.as_numpy(each["name"]) for each in described}
    count, total = await _served(client, name)
    seconds = []
    for _ in range(runs):
        await client.infer(name, inputs)
        before, spent = count, total
        count, total = await _served(client, name)
        seconds.append((total - spent) / max(1, count - before) / 1e9)
    return Timed(outputs, tuple(seconds))


async def _served(client: "tritonclient.http.aio.InferenceServerClient", name: str) -> tuple[int, int]:
    """Returns the number of requests that a model has served, and their time in nanoseconds."""
    statistics = await client.get_inference_statistics(name)
    served = statistics["model_stats"][0]["inference_stats"]["success"]
    return int(served.get("count", 0)), int(served.get("ns", 0))


async def _unloaded(
    address: str, context: ssl.SSLContext | None, name: str, headers: Mapping[str, str]
) -> None:
    """Unloads a model within UNLOAD, or not at all if the process was stopped before it sent the request."""
    try:
        async with asyncio.timeout(UNLOAD):
            await _request(address, context, lambda client: client.unload_model(name, headers=headers))
    except TimeoutError as error:
        raise TimeoutError("timed out") from error


async def _request(
    address: str,
    context: ssl.SSLContext | None,
    request: Callable[["tritonclient.http.aio.InferenceServerClient"], Awaitable[T]],
) -> T:
    """Sends a request once Triton has responded to a first one within the time for connecting.

    The client has one timeout for a whole request, which would wait as long for a host that is away.
    """
    async with tritonclient.http.aio.InferenceServerClient(
        address.partition("://")[2], conn_timeout=_READ_TIMEOUT, ssl=context is not None, ssl_context=context
    ) as client:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):  # reads the body, unlike is_server_live
                await client.get_server_metadata()
        except TimeoutError as error:
            raise TimeoutError("timed out") from error
        return await request(client)


def _send(tail: Tail, onnx: Blob, context: ssl.SSLContext | None, more: Mapping[str, str]) -> None:
    """Sends the load request, encoding the slice while it arrives: it is never in memory as a whole."""
    config = json.dumps({"config": json.dumps(model_config(tail))})[1:-1]
    start = f'{{"parameters": {{{config}'
    for name, content in sources(tail.backend).items():
        start += f', {json.dumps(name)}: "{base64.b64encode(content).decode()}"'
    head, end = f'{start}, "file:1/model.onnx": "'.encode(), b'"}}'

    def body() -> Iterator[bytes]:
        yield head
        yield from _encoded(onnx.chunks)
        yield end

    length = len(head) + 4 * -(-onnx.size // 3) + len(end)
    headers = {"Content-Type": "application/json", "Content-Length": str(length), **more}
    timeout = httpx.Timeout(_READ_TIMEOUT, connect=_CONNECT_TIMEOUT)
    url = f"{tail.address}/v2/repository/models/{quote(tail.name)}/load"
    verify = False if context is None else context  # without TLS; trust of CAs would be read for nothing
    with httpx.Client(timeout=timeout, verify=verify, trust_env=False) as client:
        response = client.post(url, content=body(), headers=headers)
    if response.status_code != 200:
        try:
            message, page = str(response.json()["error"]), None
        except (ValueError, KeyError, TypeError):
            message, page = "", response.text
        raise InferenceServerException(message, str(response.status_code), page)


def _encoded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Encodes in base64, in pieces of a multiple of 3 bytes, so that only the last one is padded."""
    rest = b""
    for chunk in chunks:
        for at in range(0, len(chunk), _CHUNK):
            rest += chunk[at : at + _CHUNK]
            whole = len(rest) - len(rest) % 3
            if whole:
                yield base64.b64encode(memoryview(rest)[:whole])
            rest = rest[whole:]
    if rest:
        yield base64.b64encode(rest)


def _unreached(doing: str, error: Exception, *, tls: bool) -> TritonError:
    """Returns the error for a request without a response; TLS failures are the causes of others."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = cause.verify_message.rstrip(".")
            return TritonUntrustedError(
                f"{doing} failed: its certificate is not trusted ({reason}): use one with the host of "
                "httpAddress, signed by ca.crt of operator.tlsSecret of the chart"
            )
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return TritonUntrustedError(
                f"{doing} failed: TLS failed ({words(cause)}): enable TLS there and trust tls.crt of "
                "operator.tlsSecret of the chart"
            )
    said = str(error).rstrip(".") or type(error).__name__
    if tls and any(isinstance(cause, _ENDED) for cause in causes):
        said += "; check that it trusts tls.crt of operator.tlsSecret of the chart"
    return TritonUnreachableError(f"{doing} failed: no response ({said})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refusal(doing: str, error: InferenceServerException) -> TritonError:
    """Returns the error for a status other than 200, of Triton or of a proxy in front of it."""
    status, page = error.status(), error.debug_details()
    if page is None:
        return TailRefusedError(f"{doing} failed: {_said(error)}")
    said = " ".join(_TAG.sub(" ", str(page)).split()).removeprefix(f"{status} ")[:200]
    if "certificate" in said.lower():  # nginx's response, with status 400
        return TritonUntrustedError(
            f"{doing} failed: the proxy rejects the operator's certificate (HTTP {status} {said}): make it "
            "trust tls.crt of operator.tlsSecret of the chart"
        )
    if status in _GATEWAY:
        return TritonUnreachableError(f"{doing} failed: the proxy cannot reach Triton (HTTP {status} {said})")
    return TailRefusedError(f"{doing} failed: the proxy in front of Triton refuses it (HTTP {status} {said})")


def _said(error: InferenceServerException) -> str:
    """Returns Triton's words without the Python traceback, which is in its log."""
    said = (error.message() or str(error)).split("\n\nAt:")[0]
    return " ".join(said.split())[:600]


def _context(certificates: Path | None) -> ssl.SSLContext:
    if certificates is None:
        raise CertificatesError(
            "scheme HTTPS requires certificates for the operator: set operator.tlsSecret of the chart"
        )
    return client_context(certificates)
