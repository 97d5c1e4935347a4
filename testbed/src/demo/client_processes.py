"""The client processes, one per entry node; only this module starts or ends them."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.client_events import Signal, read
from demo.clusters import Entrance
from demo.errors import LoadFailed
from demo.statistics import LinkSample, RequestResult

Event = RequestResult | LinkSample | Signal | LoadFailed
READY_SECONDS = 60.0
OFFSET = 37


class ClientProcess:
    """One client. Its events go into the queue that all clients share."""

    def __init__(self, node: str, argv: Sequence[str], events: queue.SimpleQueue[tuple[str, Event]]) -> None:
        self.node = node
        self._events = events
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
        )
        self._reader = threading.Thread(target=self._read, name=f"client-{node}", daemon=True)
        self._reader.start()

    def tell(self, command: str) -> None:
        """Sends a command: `start`, `rate 30` or `stop`."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # the reader reports that it ended
                self._process.stdin.write(command + "\n")
                self._process.stdin.flush()

    def end(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def _read(self) -> None:
        try:
            for line in self._process.stdout or ():
                self._events.put((self.node, read(self.node, line)))
        except LoadFailed as error:
            self._events.put((self.node, error))
            return
        code = self._process.wait()
        with contextlib.suppress(ValueError):  # closed: the driver ended it
            self._said.seek(0)
            why = " | ".join(self._said.read().strip().splitlines()[-3:])
            self._events.put((self.node, LoadFailed(f"the client at {self.node} ended with {code}: {why}")))


class ClientProcesses:
    """All clients together."""

    def __init__(
        self,
        entrances: Mapping[str, Entrance],
        protocols: Mapping[str, str],
        *,
        model: str,
        rate: float,
        timeout: float,
        held_out: Path,
    ) -> None:
        self._events: queue.SimpleQueue[tuple[str, Event]] = queue.SimpleQueue()
        self._clients: list[ClientProcess] = []
        self._timeout = timeout
        try:
            for index, (node, entrance) in enumerate(sorted(entrances.items())):
                argv = command(
                    node,
                    entrance,
                    protocols[node],
                    model,
                    rate=rate,
                    timeout=timeout,
                    held_out=held_out,
                    offset=index * OFFSET,
                )
                self._clients.append(ClientProcess(node, argv, self._events))
            self._signalled("ready", READY_SECONDS)
        except BaseException:
            self.end()
            raise

    def start(self) -> None:
        """Makes every client start to send."""
        for client in self._clients:
            client.tell("start")

    def set_rate(self, rate: float) -> None:
        """Makes every client send this many requests per second from now on."""
        for client in self._clients:
            client.tell(f"rate {rate:g}")

    def take(self, seconds: float) -> list[RequestResult | LinkSample]:
        """Returns the events of the next `seconds`. Raises LoadFailed if a client ended."""
        found: list[RequestResult | LinkSample] = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                _, event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(event, LoadFailed):
                raise event
            if not isinstance(event, Signal):
                found.append(event)
        return found

    def stop(self) -> list[RequestResult | LinkSample]:
        """Stops sending; returns the events until the last open request has ended."""
        for client in self._clients:
            client.tell("stop")
        return self._signalled("stopped", self._timeout + READY_SECONDS)

    def end(self) -> None:
        """Ends the processes."""
        while self._clients:
            self._clients.pop().end()

    def _signalled(self, name: str, seconds: float) -> list[RequestResult | LinkSample]:
        waiting = {client.node for client in self._clients}
        found: list[RequestResult | LinkSample] = []
        deadline = time.monotonic() + seconds
        while waiting:
            try:
                node, event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise LoadFailed(
                    f"the clients at {', '.join(sorted(waiting))} were not {name} in {seconds:g} s"
                ) from None
            if isinstance(event, LoadFailed):
                raise event
            if isinstance(event, Signal):
                waiting -= {node} if event.name == name else set()
            else:
                found.append(event)
        return found


def command(
    node: str,
    entrance: Entrance,
    protocol: str,
    model: str,
    *,
    rate: float,
    timeout: float,
    held_out: Path,
    offset: int,
) -> list[str]:
    """Returns the argv of the client at a node."""
    return [
        *entrance.prefix,
        sys.executable,
        "-m",
        "demo.client",
        *("--node", node, "--model", model, "--protocol", protocol),
        *("--host", entrance.host, "--http", str(entrance.http), "--grpc", str(entrance.grpc)),
        *("--rate", f"{rate:g}", "--timeout", f"{timeout:g}"),
        *("--held-out", str(held_out), "--offset", str(offset)),
    ]
