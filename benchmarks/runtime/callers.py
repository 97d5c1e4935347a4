"""A caller at a node: sends requests in a closed loop, or at a constant rate (open loop).

It runs in the node's network (`python -m benchmarks.runtime.callers`), reads one JSON command per line and
writes one JSON line for each. Times are those of the machine's monotonic clock.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvloop

from benchmarks.runtime.delays import Kind, watch
from edge_runtime.connections import HttpClient
from edge_runtime.errors import ConnectionFailed
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Array

_WITHIN: Final = 10.0
_LENGTH: Final = "inference-header-content-length"
_SWITCHES: Final = re.compile(r"^edge_route_switches_total\{[^}]*\} (\S+)$", re.MULTILINE)
_SAMPLE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. due: planned time of the request; seconds: from then to the response; status: 0 if none."""

    due: float
    seconds: float
    status: int
    parameters: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    data: bytes = b""


class Caller:
    """Sends one input to one model of one server repeatedly."""

    def __init__(
        self,
        url: str,
        model: str,
        tensor: str,
        array: Array,
        parameters: dict[str, Any] | None = None,
        connections: int = 64,
    ) -> None:
        entry = {
            "name": tensor,
            "shape": list(array.shape),
            "datatype": "FP32",
            "parameters": {"binary_data_size": array.nbytes},
        }
        asked = {"inputs": [entry], "parameters": {"binary_data_output": True, **(parameters or {})}}
        header = json.dumps(asked).encode()
        self._client = HttpClient(url, size=connections)
        self._path = f"/v2/models/{model}/infer"
        self._lines = f"Inference-Header-Content-Length: {len(header)}\r\n"
        self._parts = [header, array.tobytes()]

    async def ask(self, due: float | None = None) -> Reply:
        """Sends one request, now or at a time of the monotonic clock."""
        if due is None:
            due = time.monotonic()
        else:
            await asyncio.sleep(due - time.monotonic())
        try:
            found = await self._client.request("POST", self._path, self._parts, self._lines, within=_WITHIN)
        except (TimeoutError, ConnectionFailed) as error:
            return Reply(
                due, time.monotonic() - due, 0, {}, str(error) or f"no response within {_WITHIN:g} s"
            )
        seconds = time.monotonic() - due
        length = int(found.headers.get(_LENGTH, len(found.body)))
        said = json.loads(found.body[:length])
        return Reply(
            due, seconds, found.status, said.get("parameters", {}), said.get("error", ""), found.body[length:]
        )

    async def in_turn(self, count: int, pause: float) -> list[Reply]:
        """Sends `count` requests, each some time after the previous response."""
        found = []
        for _ in range(count):
            found.append(await self.ask())
            await asyncio.sleep(pause)
        return found

    async def steadily(self, count: int, rate: float) -> list[Reply]:
        """Sends `count` requests, one every 1/rate seconds, without waiting for responses."""
        begin = time.monotonic() + 0.05
        return await asyncio.gather(*[self.ask(begin + i / rate) for i in range(count)])

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()


class CallerCommands:
    """Executes commands; keeps callers, and with them their connections."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}
        self._sink: asyncio.Server | None = None
        self._delays: list[tuple[Kind, float, float]] = []
        watch(lambda *delay: self._delays.append(delay))

    async def obey(self, order: dict[str, Any]) -> Any:  # noqa: ANN401 - what an order gives
        """Executes one command: {"do": …} with its arguments."""
        match order["do"]:
            case "ask":
                return _told(await self._caller(order).in_turn(order["count"], order["pause"]))
            case "stream":
                return _told(await self._caller(order).steadily(order["count"], order["rate"]))
            case "run":
                return await _run(**{name: value for name, value in order.items() if name != "do"})
            case "connect":
                return [await _connect(order["host"], order["port"]) for _ in range(order["count"])]
            case "sink":
                self._sink = await asyncio.start_server(_swallow, order["host"], order["port"])
                return None
            case "send":
                return await _send(**{name: value for name, value in order.items() if name != "do"})
            case "get":
                return await _get(order["url"])
            case "switches":
                return await _switches(order["url"], order["seconds"])
            case "delays":
                return self._delays
            case unknown:
                raise ValueError(f"unknown command: {unknown}")

    def _caller(self, order: dict[str, Any]) -> Caller:
        known = self._callers.get(order["url"])
        if known is None:
            array = np.random.default_rng(1).normal(size=order["shape"]).astype(np.float32)
            known = Caller(order["url"], order["model"], order["tensor"], array)
            self._callers[order["url"]] = known
        return known


def _told(replies: list[Reply]) -> list[dict[str, Any]]:
    return [{name: v for name, v in asdict(reply).items() if name != "data"} for reply in replies]


async def _run(file: str, tensor: str, shape: list[int], count: int, pause: float) -> list[float]:
    """Seconds of each run of a slice, with pauses as long as a request's transfer."""
    session = Session(Path(file))
    feeds = {tensor: np.random.default_rng(1).normal(size=shape).astype(np.float32)}
    session.run(feeds)
    found = []
    for _ in range(count):
        begin = time.monotonic()
        session.run(feeds)
        found.append(time.monotonic() - begin)
        await asyncio.sleep(pause)
    return found


async def _connect(host: str, port: int) -> float:
    """Seconds of a TCP handshake, which is one round trip."""
    begin = time.monotonic()
    _, writer = await asyncio.open_connection(host, port)
    seconds = time.monotonic() - begin
    writer.close()
    return seconds


async def _swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Replies with one byte to each message, whose first four bytes are its length."""
    try:
        while True:
            await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
            writer.write(b".")
    except asyncio.IncompleteReadError:
        writer.close()


async def _send(host: str, port: int, size: int, count: int, pause: float) -> list[float]:
    """Seconds of each of `count` messages to a sink, until its reply."""
    reader, writer = await asyncio.open_connection(host, port)
    found = []
    for _ in range(count):
        begin = time.monotonic()
        writer.write(size.to_bytes(4, "big") + bytes(size - 4))
        await reader.readexactly(1)
        found.append(time.monotonic() - begin)
        await asyncio.sleep(pause)
    writer.close()
    return found


async def _get(url: str) -> list[Any]:
    """Returns status and body, or [0, error] without a response."""
    client = HttpClient(url)
    try:
        found = await client.request("GET", "", within=2.0)
    except (TimeoutError, ConnectionFailed) as error:
        return [0, str(error)]
    finally:
        client.close()
    return [found.status, found.body.decode("utf-8", "replace")]


async def _switches(url: str, seconds: float) -> list[tuple[float, float]]:
    """Returns (time, switches so far) from the runtime's metrics, every 50 ms."""
    client, found = HttpClient(url), []
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        answer = await client.request("GET", "", within=2.0)
        seen = _SWITCHES.search(answer.body.decode())
        found.append((now, float(seen[1]) if seen else 0.0))
        await asyncio.sleep(_SAMPLE)
    client.close()
    return found


async def main() -> None:
    """Executes commands until standard input closes."""
    hand, reader = CallerCommands(), asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(await hand.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
