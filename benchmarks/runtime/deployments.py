"""A network in two slices on a site: the runtime at the edge node, a real Triton at the cloud node."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import helper

from benchmarks.graphs.nets import Net
from benchmarks.runtime.commands import Say
from benchmarks.runtime.models import mean
from benchmarks.runtime.peers import ROOT, install, triton_command
from benchmarks.runtime.sites import EDGE, Process, Site, site
from edge_runtime.store.blobs import Blobs
from edge_runtime.store.catalogue import Catalogue
from edge_runtime.store.holdings import Holdings
from testbed.network import MTU
from testbed.topology import CLOUD

Document = dict[str, Any]

MODEL: Final = "m"
IMAGE: Final = (1, 3, 128, 128)
CUT: Final = (1, 12, 32, 32)  # 48 KiB
CUT_ROUTE, LOCAL_ROUTE = "final@cut", "exit1@local"
HTTP: Final = 8080
STORE: Final = 8090
TRITON: Final = 8000
_GRPC, _CONTROL, _CONTROL_GRPC, _TRITON_GRPC = 8081, 8082, 8083, 8001
_BARE, _BARE_GRPC = 8084, 8085
_SINK: Final = 8091
_ETHERNET, _HEADERS = 14, 66  # bytes of a frame: Ethernet alone; with IP and TCP with timestamps
_READY: Final = 60.0


def network() -> bytes:
    """A chain of convolutions with an exit behind the cut: some milliseconds on each side."""
    net = Net("links")
    x = net.input("image", ("batch", *IMAGE[1:]))
    for filters, stride in ((64, 2), (64, 1), (64, 1)):
        x = net.node("Relu", [net.convolution(x, filters, 3, stride=stride, pad=1)])
    cut = x = net.node("Relu", [net.convolution(x, CUT[1], 3, stride=2, pad=1)], "cut")
    exits = []
    for name, depth, accuracy in (("exit1", 1, 0.8), ("final", 4, 0.95)):
        for _ in range(depth):
            x = net.node("Relu", [net.convolution(x, 128, 3, stride=1, pad=1)])
        flat = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
        logits = net.connected(flat, 128, 10, f"{name}_logits")
        net.output(logits, ("batch", 10))
        exits.append({"name": name, "output": logits, "accuracy": accuracy})
    assert cut == "cut"
    model = net.model()
    helper.set_model_props(model, {"edge.exits": json.dumps(exits)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class PlannedRoute:
    """What the planner would write for the cut's route: SLO and latency in seconds, bandwidth in bit/s.

    interval: seconds after which the runtime probes an idle link.
    """

    slo: float
    needed: float
    predicted: float
    far_compute: float = 0.012
    interval: float = 2.0


class CallerProcess:
    """The process at a node that sends requests."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def begin(self, **order: object) -> None:
        """Sends a command without waiting for its result."""
        stdin = self._process.process.stdin
        assert stdin is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()

    def end(self) -> Any:  # noqa: ANN401 - what the order gives
        """Returns the result of the command."""
        stdout = self._process.process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the caller ended: {self._process.log.read_text()[-2000:]}")
        return json.loads(line)

    def do(self, **order: object) -> Any:  # noqa: ANN401
        """Sends a command and returns its result."""
        self.begin(**order)
        return self.end()


class Deployment:
    """The running parts. url: of the runtime with the cut's route; control_url: of that without it."""

    def __init__(self, site: Site, plan: PlannedRoute, stack: ExitStack, say: Say) -> None:
        self.site, self._plan, self._stack = site, plan, stack
        self._cloud = site.address(CLOUD)
        self.triton_url = f"http://{self._cloud}:{TRITON}"
        self.url = f"http://127.0.0.1:{HTTP}"
        self.control_url = f"http://127.0.0.1:{_CONTROL}"
        self._python = install("triton", say)
        self._slices = self._cut()
        self.hand, self.far_hand, self.watcher = (
            CallerProcess(self._start(f"hand-{i}", node, "benchmarks.runtime.callers", talking=True))
            for i, node in enumerate((EDGE, CLOUD, EDGE))
        )
        store = ["store", "--root", str(site.folder / "store"), "--host", self._cloud, "--port", str(STORE)]
        self._start("store", CLOUD, "edge_runtime.cli", *store)
        self._await(self.far_hand, f"http://{self._cloud}:{STORE}/v1/health/ready", "the model store")
        self.far_hand.do(do="sink", host=self._cloud, port=_SINK)
        self.start_triton()

    def start_triton(self) -> None:
        """Starts the tail's server, and waits until it is ready."""
        shape = ", ".join(map(str, CUT[1:]))
        config = (
            f'input [{{name: "cut", data_type: TYPE_FP32, dims: [-1, {shape}]}}]\n'
            'output [{name: "final_logits", data_type: TYPE_FP32, dims: [-1, 10]}]\n'
        )
        folder = self.site.folder / "triton"
        tail = self.slice_file("tail")
        argv, env = triton_command(
            self._python, config, tail, folder, http=TRITON, grpc=_TRITON_GRPC, host=self._cloud
        )
        self.triton = self.site.start("triton", CLOUD, argv, env)
        self._stack.callback(self._end_triton, self.triton)
        self._await(self.far_hand, f"{self.triton_url}/v2/models/{MODEL}/ready", "Triton", self.triton)

    def _end_triton(self, process: Process) -> None:
        process.kill()  # on SIGTERM it would wait for connected callers
        for path in Path("/dev/shm").glob(f"bench-triton-{os.getpid()}*"):
            path.unlink(missing_ok=True)

    def start_runtime(self) -> None:
        """Starts the runtime with both routes, and waits until requests use the cut's."""
        self.runtime = self._run("runtime", self._routes(), (HTTP, _GRPC))
        self.await_cut_route()

    def stop_runtime(self) -> None:
        """Ends the runtime and its probes."""
        self.runtime.end()

    def start_control(self) -> None:
        """Starts the runtime with the local route alone."""
        self._run("control", self._routes()[1:], (_CONTROL, _CONTROL_GRPC))

    def start_bare(self) -> None:
        """Starts the bare server at the edge node, and waits until it is ready."""
        model = self.site.folder / "mean.onnx"
        model.write_bytes(mean(prod(IMAGE)))
        ports = (str(_BARE), str(_BARE_GRPC))
        self._start("bare", EDGE, "benchmarks.runtime.servers.bare", str(model), *ports)
        deadline = time.monotonic() + _READY
        while (found := self.ask_bare(1, 0.1)[0])["status"] != 200:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the bare server does not respond: {found}")

    def await_cut_route(self) -> None:
        """Waits until requests use the cut's route."""
        deadline = time.monotonic() + _READY
        while (found := self.ask(1)[0])["parameters"].get("route") != CUT_ROUTE:
            if time.monotonic() > deadline:
                log = (self.site.folder / "runtime.log").read_text()
                metrics = self.hand.do(do="get", url=f"{self.url}/metrics")[1]
                told = [line for line in metrics.splitlines() if line.startswith("edge_link")]
                raise RuntimeError(f"no request uses the cut's route: {found}\n{log[-2000:]}\n{told}")
            time.sleep(0.1)

    def ask(self, count: int, pause: float = 0.0) -> list[Document]:
        """Sends requests to the runtime, one after the other."""
        found: list[Document] = self.hand.do(do="ask", count=count, pause=pause, **self.asked(self.url))
        return found

    def ask_triton(self, count: int, pause: float) -> list[Document]:
        """Measures the tail alone, from a caller on its node."""
        target = {"url": self.triton_url, "model": MODEL, "tensor": "cut", "shape": CUT}
        found: list[Document] = self.far_hand.do(do="ask", count=count, pause=pause, **target)
        return found

    def ask_bare(self, count: int, pause: float) -> list[Document]:
        """Sends as many bytes as a request's image to the bare server, from the runtime's caller."""
        url = f"http://127.0.0.1:{_BARE}"
        target = {"url": url, "model": MODEL, "tensor": "x", "shape": (1, prod(IMAGE))}
        found: list[Document] = self.hand.do(do="ask", count=count, pause=pause, **target)
        return found

    def run_head(self, count: int, pause: float) -> list[float]:
        """Seconds of the head alone."""
        order = {"file": str(self.slice_file("head")), "tensor": "image", "shape": IMAGE}
        found: list[float] = self.hand.do(do="run", count=count, pause=pause, **order)
        return found

    def round_trip(self) -> float:
        """The median of some TCP handshakes with Triton, in seconds."""
        found = sorted(self.hand.do(do="connect", host=self._cloud, port=TRITON, count=21))
        return float(found[10])

    def send_plainly(self, wire: int, count: int, pause: float) -> list[float]:
        """Seconds of messages with as many bytes on the wire, to a bare socket across the link."""
        size = wire - _HEADERS * ceil(wire / (MTU + _ETHERNET))
        order = {"host": self._cloud, "port": _SINK, "size": size}
        found: list[float] = self.hand.do(do="send", count=count, pause=pause, **order)
        return found

    def asked(self, url: str) -> Document:
        """The server and the input of requests."""
        return {"url": url, "model": "links", "tensor": "image", "shape": IMAGE}

    def slice_file(self, name: str) -> Path:
        """The file of a slice: head, tail or local."""
        digest: str = self._slices[name]["digest"]
        return self.site.folder / "store" / "blobs" / digest.removeprefix("sha256:")

    def delays(self, name: str) -> list[Document]:
        """Returns the delays of a runtime's process so far."""
        lines = (self.site.folder / f"{name}.delays").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def _start(self, name: str, node: str, module: str, *argv: str, talking: bool = False) -> Process:
        # A program that enters the site's mount namespace starts in the root folder.
        env = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        process = self.site.start(name, node, [sys.executable, "-m", module, *argv], env, talking=talking)
        self._stack.callback(process.end)
        return process

    def _await(self, hand: CallerProcess, url: str, what: str, process: Process | None = None) -> None:
        deadline = time.monotonic() + _READY
        while (said := hand.do(do="get", url=url))[0] != 200:
            ended = process is not None and process.process.poll() is not None
            if ended or time.monotonic() > deadline:
                log = process.log.read_text()[-2000:] if process is not None else ""
                raise RuntimeError(f"{what} does not respond at {url}: {said}\n{log}")
            time.sleep(0.1)

    def _cut(self) -> dict[str, Document]:
        blobs = Blobs(self.site.folder / "store", 1 << 26)
        holdings = Holdings(blobs)
        blobs.put(network(), holdings.file_path("links.onnx"))
        catalogue = Catalogue(blobs)
        self._metadata = catalogue.add_model({"storageUri": "store://links.onnx"}, holdings)
        ends = {
            "head": ("image", "cut"),
            "tail": ("cut", "final_logits"),
            "local": ("image", "exit1_logits"),
        }
        return {
            name: catalogue.add_slice(
                {"model": self._metadata["digest"], "inputs": [a], "outputs": [b]}, holdings
            )
            for name, (a, b) in ends.items()
        }

    def _routes(self) -> list[Document]:
        here: Document = {"place": EDGE, "runtime": "Edge"}
        far = {
            "place": CLOUD,
            "runtime": "Triton",
            "slice": self._slices["tail"],
            "address": self.triton_url,
            "model": MODEL,
            "predictedCompute": f"{1e3 * self._plan.far_compute:g}ms",
        }
        return [
            {
                "name": CUT_ROUTE,
                "exit": "final",
                "cut": "cut",
                "accuracy": 0.95,
                "minBandwidth": f"{self._plan.needed:.0f}",
                "predictedLatency": f"{1e3 * self._plan.predicted:g}ms",
                "stages": [{**here, "slice": self._slices["head"]}, far],
            },
            {
                "name": LOCAL_ROUTE,
                "exit": "exit1",
                "cut": "local",
                "accuracy": 0.8,
                "minBandwidth": "0",
                "predictedLatency": "15ms",
                "stages": [{**here, "slice": self._slices["local"]}],
            },
        ]

    def _run(self, name: str, routes: Sequence[Document], ports: tuple[int, int]) -> Process:
        model = {
            "digest": self._metadata["digest"],
            "inputs": self._metadata["inputs"],
            "outputs": self._metadata["exits"][-1]["tensors"],
        }
        probe = f"http://{self._cloud}:{STORE}/v1/probe"
        spec = {
            "service": "links",
            "node": EDGE,
            "mode": "Auto",
            "model": model,
            "slo": {"latency": f"{1e3 * self._plan.slo:g}ms"},
            "link": {"peer": CLOUD, "probe": probe, "interval": f"{self._plan.interval:g}s"},
            "routes": list(routes),
        }
        file = self.site.folder / f"{name}.json"
        file.write_text(json.dumps({"metadata": {"name": f"links-{name}", "generation": 1}, "spec": spec}))
        delays, cache = self.site.folder / f"{name}.delays", self.site.folder / f"{name}.cache"
        argv = [str(delays), "run", "--service", "links", "--namespace", "default", "--node", EDGE]
        argv += ["--store", f"http://{self._cloud}:{STORE}", "--cache-dir", str(cache), "--host", "127.0.0.1"]
        argv += ["--http-port", str(ports[0]), "--grpc-port", str(ports[1]), "--placement-file", str(file)]
        process = self._start(name, EDGE, "benchmarks.runtime.watched", *argv)
        self._await(self.hand, f"http://127.0.0.1:{ports[0]}/v2/health/ready", f"the {name}", process)
        return process


@contextmanager
def deployed(folder: Path, plan: PlannedRoute, say: Say) -> Iterator[Deployment]:
    """A deployment on a site of its own, which is removed after the block."""
    with site(folder, say) as where, ExitStack() as stack:
        say("the model store and Triton start ...")
        yield Deployment(where, plan, stack, say)
