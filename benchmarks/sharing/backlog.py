"""Keeps a number of requests open at one service: sends the next one when a response comes.

    python -m benchmarks.sharing.backlog --model camera --host 10.96.3.4 --open 4 --images heldout.npz

It runs in a node's network. It prints a line once it is ready, reads the lines `start` and `stop` from
standard input, and prints one JSON object when that closes: `responses`, when each came, in seconds of the
machine's monotonic clock, `failed` requests, and the last `error`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from demo.client import Client, TritonHttpClient, standard_input
from demo.samples import LabeledImages

READY: Final = "ready"
_PAUSE: Final = 0.1  # a service that is down is not flooded


@dataclass
class Received:
    """What came back: `responses` is when, in seconds of the monotonic clock."""

    responses: list[float] = field(default_factory=list)
    failed: int = 0
    error: str = ""


class Backlog:
    """Requests with the samples in order."""

    def __init__(
        self, client: Client, samples: LabeledImages, most: int, timeout: float, pause: float = _PAUSE
    ) -> None:
        """most: how many are open at a time. timeout: seconds of each. pause: seconds after a failed one."""
        self._client, self._samples = client, samples
        self._most, self._timeout, self._pause = most, timeout, pause
        self._next = 0
        self.received = Received()

    async def run(self, commands: AsyncIterator[str]) -> None:
        """Executes `start` and `stop` until the input ends."""
        tasks: list[asyncio.Task[None]] = []
        sending = asyncio.Event()
        async for command in commands:
            if command == "start" and not tasks:
                sending.set()
                tasks = [asyncio.create_task(self._repeat(sending)) for _ in range(self._most)]
            elif command == "stop":
                sending.clear()
                await asyncio.gather(*tasks)
                tasks = []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, sending: asyncio.Event) -> None:
        while sending.is_set():
            index = self._next % len(self._samples.labels)
            self._next += 1
            try:
                async with asyncio.timeout(self._timeout):
                    await self._client.infer(self._samples.images[index : index + 1])
            except Exception as error:  # any error of the client library loses this request alone
                self.received.failed += 1
                self.received.error = " ".join(str(error).split())[:300] or type(error).__name__
                await asyncio.sleep(self._pause)
            else:
                self.received.responses.append(time.monotonic())


async def serve(arguments: argparse.Namespace) -> Received:
    """Runs until standard input closes."""
    samples = LabeledImages.load(arguments.images)
    client = TritonHttpClient(f"{arguments.host}:{arguments.http}", arguments.model, arguments.tensor)
    backlog = Backlog(client, samples, arguments.open, arguments.timeout)
    print(READY, flush=True)
    try:
        await backlog.run(standard_input())
    finally:
        await client.close()
    return backlog.received


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="benchmarks.sharing.backlog", description=__doc__)
    found.add_argument("--model", required=True, help="name of the InferenceService")
    found.add_argument("--tensor", default="image", help="name of the model's input")
    found.add_argument("--host", required=True)
    found.add_argument("--http", type=int, default=8080, help="the HTTP port")
    found.add_argument("--open", type=int, required=True, help="number of requests that are open at a time")
    found.add_argument("--timeout", type=float, default=30.0, help="seconds after which a request is lost")
    found.add_argument("--images", type=Path, required=True, help="the training's heldout.npz")
    return found


def main(argv: list[str] | None = None) -> int:
    """Runs the client and prints what came back."""
    with contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(asdict(asyncio.run(serve(parser().parse_args(argv))))), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
