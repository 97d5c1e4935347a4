"""The processes that serve: the model store, the runtime of an entry node, and one in place of Triton."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.runtime.peers import ONE_THREAD, free_port

Document = dict[str, Any]
NODE: Final = "camera-1"
NAMESPACE: Final = "models"
_START: Final = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on two ports. log: what it says."""

    http: int
    grpc: int
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Of the HTTP port."""
        return f"http://127.0.0.1:{self.http}"

    @property
    def target(self) -> str:
        """Of the gRPC port."""
        return f"127.0.0.1:{self.grpc}"

    def check(self) -> None:
        """Raises RuntimeError with the end of its log if the process has ended."""
        if not self._runs:
            raise RuntimeError(f"the process ended: {self.tail()}")

    @property
    def _runs(self) -> bool:
        """Whether the process runs; right also in a child of the process that started it."""
        try:
            state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z"

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-600:]


@contextmanager
def store(folder: Path) -> Iterator[Server]:
    """The model store."""
    port = free_port()
    argv = ["store", "--root", str(folder / "store"), "--host", "127.0.0.1", "--port", str(port)]
    with _running("store", argv, folder, port, 0, "/v1/health/ready") as server:
        yield server


@contextmanager
def alone(path: Path, folder: Path, name: str) -> Iterator[Server]:
    """`edge-runtime serve` of one file."""
    http, grpc = free_port(), free_port()
    argv = ["serve", str(path), "--name", name, "--host", "127.0.0.1"]
    argv += ["--http-port", str(http), "--grpc-port", str(grpc), "--threads", "1"]
    with _running("alone", argv, folder, http, grpc, "/v2/health/ready") as server:
        yield server


@contextmanager
def placed(store_url: str, folder: Path, name: str, placements: Path) -> Iterator[Server]:
    """`edge-runtime run` as in a pod of the cluster, with the Placements of a file."""
    http, grpc = free_port(), free_port()
    publish(placements, [])
    argv = ["run", "--namespace", NAMESPACE, "--node", name, "--store", store_url, "--host", "127.0.0.1"]
    argv += ["--http-port", str(http), "--grpc-port", str(grpc), "--threads", "1"]
    argv += ["--cache-dir", str(folder / f"cache-{name}"), "--placement-file", str(placements)]
    with _running(name, argv, folder, http, grpc, "/v2/health/ready") as server:
        yield server


def publish(file: Path, placements: Sequence[Mapping[str, Any]]) -> None:
    """Replaces the Placements of a runtime."""
    draft = file.with_suffix(".new")
    draft.write_text("---\n".join(json.dumps(each) + "\n" for each in placements))
    draft.replace(file)


@contextmanager
def _running(
    name: str, argv: Sequence[str], folder: Path, http: int, grpc: int, ready: str
) -> Iterator[Server]:
    with ExitStack() as stack:
        log = folder / f"{name}.log"
        out = stack.enter_context(log.open("ab"))
        command = [sys.executable, "-m", "edge_runtime.cli", *argv]
        process = subprocess.Popen(command, env=os.environ | ONE_THREAD, stdout=out, stderr=out)
        stack.callback(_end, process)
        server = Server(http, grpc, log, process)
        deadline = time.monotonic() + _START
        while not responds(server.url + ready):
            server.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name}: not ready after {_START:.0f} s: {server.tail()}")
            time.sleep(0.05)
        yield server


def responds(url: str) -> bool:
    """Whether the response to a GET is a success."""
    try:
        return httpx.get(url, timeout=5.0).is_success
    except httpx.HTTPError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
