"""The client at one entry node: sends held-out images at a constant rate, without waiting for responses.

    python -m demo.client --node edge-a --model digits --host 10.96.3.4 --protocol grpc --rate 3 …

It runs in the node's network. It reads the lines `start`, `rate 30` (requests per second) and `stop` from
standard input and exits when that closes. It writes one JSON object per line to standard output (see
`demo.client_events`), with times of the machine's monotonic clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import numpy.typing as npt
import tritonclient.grpc.aio as grpcclient
import tritonclient.http.aio as httpclient

from demo.samples import LabeledImages

_CONNECTIONS = 512  # more than are open at once: a request that waits for one would wait before it is sent
BANDWIDTH = re.compile(r"^edge_link_bandwidth_bits(?:\{[^}]*\})? (?P<bps>\S+)$", re.MULTILINE)
Image = npt.NDArray[np.float32]
Reply = tuple[npt.NDArray[np.float32], dict[str, str]]


class Client(Protocol):
    """One of the two protocols: sends an image [1, …], returns the logits and the response's parameters."""

    async def infer(self, image: Image) -> Reply: ...

    async def close(self) -> None: ...


class TritonHttpClient:
    """tritonclient over HTTP, with the binary extension."""

    def __init__(self, address: str, model: str, tensor: str) -> None:
        self._client = httpclient.InferenceServerClient(address, conn_limit=_CONNECTIONS)
        self._model, self._tensor = model, tensor

    async def infer(self, image: Image) -> Reply:
        tensor = httpclient.InferInput(self._tensor, list(image.shape), "FP32")
        tensor.set_data_from_numpy(image)
        result = await self._client.infer(self._model, [tensor])
        response = result.get_response()
        parameters = {name: str(value) for name, value in (response.get("parameters") or {}).items()}
        return result.as_numpy(response["outputs"][0]["name"]), parameters

    async def close(self) -> None:
        await self._client.close()


class TritonGrpcClient:
    """tritonclient over gRPC."""

    def __init__(self, address: str, model: str, tensor: str) -> None:
        self._client = grpcclient.InferenceServerClient(address)
        self._model, self._tensor = model, tensor

    async def infer(self, image: Image) -> Reply:
        tensor = grpcclient.InferInput(self._tensor, list(image.shape), "FP32")
        tensor.set_data_from_numpy(image)
        result = await self._client.infer(self._model, [tensor])
        response = result.get_response()
        parameters = {name: value.string_param for name, value in response.parameters.items()}
        return result.as_numpy(response.outputs[0].name), parameters

    async def close(self) -> None:
        await self._client.close()


class LoadGenerator:
    """Sends the samples in order, from the first one at each start.

    `emit` receives each response and each measured bandwidth as a JSON object.
    """

    def __init__(
        self,
        client: Client,
        samples: LabeledImages,
        rate: float,
        timeout: float,
        emit: Callable[[dict[str, Any]], None],
        bandwidth: Callable[[], Awaitable[float]],
    ) -> None:
        self._client, self._samples, self._emit, self._bandwidth = client, samples, emit, bandwidth
        self._interval, self._timeout = 1 / rate, timeout
        self._next = 0
        self._rate_changed = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()

    async def run(self, commands: AsyncIterator[str]) -> None:
        """Executes `start`, `rate` and `stop` until the input ends; waits for open requests after `stop`."""
        loops: list[asyncio.Task[None]] = []
        async for command in commands:
            if command == "start" and not loops:
                self._next = 0
                loops = [asyncio.create_task(self._send()), asyncio.create_task(self._watch())]
            elif command.startswith("rate "):
                self._interval = 1 / float(command.removeprefix("rate "))
                self._rate_changed.set()
            elif command == "stop" and loops:
                await _end(loops)
                loops = []
                if self._open:
                    await asyncio.wait(self._open)
                self._emit({"event": "stopped"})
        await _end([*loops, *self._open])

    async def _send(self) -> None:
        due = time.monotonic()
        while True:
            task = asyncio.create_task(self._ask(self._next % len(self._samples.labels)))
            self._open.add(task)
            task.add_done_callback(self._open.discard)
            self._next += 1
            due = await self._next_due(due + self._interval)

    async def _next_due(self, due: float) -> float:
        """Waits until `due` and returns it; returns the current time if the rate changes before."""
        try:
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._rate_changed.wait()
        except TimeoutError:
            return due
        self._rate_changed.clear()
        return time.monotonic()

    async def _ask(self, index: int) -> None:
        sent = time.monotonic()
        answer: dict[str, Any] = {"event": "answer", "sent": sent}
        try:
            async with asyncio.timeout(self._timeout):
                logits, parameters = await self._client.infer(self._samples.images[index : index + 1])
            answer |= {name: parameters.get(name) for name in ("exit", "cut", "route")}
            answer["right"] = bool(logits.reshape(-1).argmax() == self._samples.labels[index])
        except TimeoutError:
            answer["error"] = f"no response within {self._timeout:g} s"
        except Exception as error:  # any error of a client library loses this request alone
            answer["error"] = " ".join(str(error).split())[:300] or type(error).__name__
        self._emit(answer | {"latency": time.monotonic() - sent})

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                bps = await self._bandwidth()
                self._emit({"event": "link", "at": time.monotonic(), "bps": bps or None})
            await asyncio.sleep(1.0)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def bandwidth_in(metrics: str) -> float:
    """Returns the runtime's bandwidth estimate in bit/s, 0 if the link is down. Raises ValueError."""
    found = BANDWIDTH.search(metrics)
    if found is None:
        raise ValueError("metrics: edge_link_bandwidth_bits is missing")
    return float(found["bps"])


def emit(event: dict[str, Any]) -> None:
    """Writes one line and flushes it."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


async def standard_input() -> AsyncIterator[str]:
    """Yields the stripped lines of standard input until it closes."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield line.decode().strip()


async def serve(arguments: argparse.Namespace) -> None:
    """Runs one client until standard input closes."""
    samples = LabeledImages.load(arguments.held_out, arguments.offset)
    kind, port = (
        (TritonGrpcClient, arguments.grpc)
        if arguments.protocol == "grpc"
        else (TritonHttpClient, arguments.http)
    )
    client = kind(f"{arguments.host}:{port}", arguments.model, arguments.tensor)
    metrics = f"http://{arguments.host}:{arguments.http}/metrics"
    async with httpx.AsyncClient(timeout=2, trust_env=False) as session:

        async def bandwidth() -> float:
            return bandwidth_in((await session.get(metrics)).raise_for_status().text)

        load = LoadGenerator(client, samples, arguments.rate, arguments.timeout, emit, bandwidth)
        emit({"event": "ready"})
        try:
            await load.run(standard_input())
        finally:
            await client.close()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="demo.client", description="Sends held-out images to one entry node."
    )
    found.add_argument("--node", required=True, help="the entry node's name, shown in the process list")
    found.add_argument("--model", required=True, help="name of the InferenceService")
    found.add_argument("--tensor", default="image", help="name of the model's input")
    found.add_argument("--host", required=True)
    found.add_argument("--http", type=int, default=8080, help="the HTTP port, which also has /metrics")
    found.add_argument("--grpc", type=int, default=8081, help="the gRPC port")
    found.add_argument("--protocol", choices=["http", "grpc"], default="http")
    found.add_argument("--rate", type=float, required=True, help="requests per second")
    found.add_argument("--timeout", type=float, default=5.0, help="seconds after which a request is lost")
    found.add_argument("--held-out", type=Path, required=True, help="the training's heldout.npz")
    found.add_argument("--offset", type=int, default=0, help="index of the first image")
    return found


def main(argv: list[str] | None = None) -> int:
    """Runs until standard input closes or the client is interrupted."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser().parse_args(argv)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
