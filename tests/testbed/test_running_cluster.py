"""A real cluster of one edge node: effects of link, speed, power and servers on its pods."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from testbed import NodeSpec, Testbed
from testbed.errors import KubectlFailed
from testbed.processes import succeeds, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CHECKOUT = Path(__file__).resolve().parents[2]
IMAGES: dict[str, str] = {}  # by name, as the fixture below imported them
EDGE = NodeSpec("edge", "camera", 0.2)
RECEIVER = """
import socket, time
with socket.create_server(("0.0.0.0", 9999)) as server:
    print("listening", flush=True)
    while True:
        with server.accept()[0] as client:
            left = int(client.recv(16))
            client.sendall(b"k")
            while left > 0 and (data := client.recv(65536)):
                left -= len(data)
            client.sendall(b"%020d" % time.monotonic_ns())
"""
SENDER = """
import socket, sys, time
host, size = sys.argv[1], int(sys.argv[2])
with socket.create_connection((host, 9999), timeout=60) as client:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(str(size).encode().ljust(16))
    client.recv(1)
    began = time.monotonic_ns()
    client.sendall(bytes(size))
    print(size * 8e9 / (int(client.recv(20)) - began))
"""
SPIN = """
import time
began = time.monotonic()
spent = time.process_time()
while time.monotonic() - began < 4:
    pass
print((time.process_time() - spent) / (time.monotonic() - began))
"""


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    bed = Testbed.of_checkout(tmp_path_factory.mktemp("bed"), CHECKOUT / ".cache", CHECKOUT)
    try:
        bed.up([EDGE], print)
        IMAGES.update(bed.images(print))
        yield bed
    finally:
        bed.down()
        bed.layout.lock.unlink()


@pytest.fixture
def receivers(bed: Testbed) -> Iterator[None]:
    """Programs at both ends of the link; the receiver discards data and reports when it has all."""
    started = []
    try:
        for node in ("cloud", "edge"):
            argv = [*bed.in_node(node), sys.executable, "-c", RECEIVER]
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
        yield
    finally:
        for process in started:
            process.kill()
            process.communicate()
        bed.link("edge").set_rate(None)


def measured_bps(bed: Testbed, source: str, target: str, size: int) -> float:
    argv = [*bed.in_node(source), sys.executable, "-c", SENDER, bed.topology.address(target), str(size)]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout)


@pytest.mark.parametrize("size", [16 * 1024, 256 * 1024])
@pytest.mark.parametrize("rate_bps", [250e3, 1e6, 4e6, 20e6])
@pytest.mark.parametrize("way", [("edge", "cloud"), ("cloud", "edge")], ids=["up", "down"])
@pytest.mark.usefixtures("receivers")
def test_a_transfer_sees_the_rate_that_was_set(
    bed: Testbed, rate_bps: float, size: int, way: tuple[str, str]
) -> None:
    bed.link("edge").set_rate(rate_bps)
    tries: list[float] = []
    while len(tries) < 5 and not any(abs(each / rate_bps - 1) <= 0.1 for each in tries):
        tries.append(measured_bps(bed, *way, size))  # the link is shared with the kubelet's own traffic

    assert tries[-1] == pytest.approx(rate_bps, rel=0.1), f"tries: {tries}"
    assert all(each < rate_bps * 1.1 for each in tries)


def pod(name: str, node: str, command: list[str]) -> str:
    container = {
        "name": "main",
        "image": IMAGES["runtime"],
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": {"readOnlyRootFilesystem": True, "runAsNonRoot": True},
    }
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "containers": [container],
        "terminationGracePeriodSeconds": 0,
    }
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def wait_ready(bed: Testbed, name: str) -> None:
    bed.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s")


SERVER = ["python3", "-m", "http.server", "8000", "--directory", "/opt/app"]
ASK = "import urllib.request as u; print(u.urlopen('http://%s:8000/', timeout=5).status)"


def test_a_shell_in_a_nodes_network_has_kubectl_and_helm_for_this_cluster(bed: Testbed) -> None:
    for node in ("cloud", "edge"):
        typed = "command -v kubectl; command -v helm; kubectl get nodes -o name; helm list --output yaml"
        argv, variables = bed.shell_command(node, ["sh", "-ec", typed])
        found = subprocess.run(argv, env=variables, capture_output=True, text=True, timeout=60, check=True)
        places = [str(bed.programs() / name) for name in ("kubectl", "helm")]
        assert found.stdout.split()[:2] == places
        assert "node/cloud" in found.stdout.split()


def test_pods_reach_each_other_across_nodes_by_name(bed: Testbed) -> None:
    bed.kubectl("apply", "-f", "-", input=pod("far", "cloud", SERVER))
    bed.kubectl("apply", "-f", "-", input=pod("near", "edge", SERVER))
    bed.kubectl("label", "pod/far", "app=far")
    bed.kubectl("create", "service", "clusterip", "far", "--tcp=8000:8000")
    bed.kubectl("patch", "service/far", "-p", '{"spec": {"selector": {"app": "far"}}}')
    for name in ("far", "near"):
        wait_ready(bed, name)

    def answered(asker: str) -> bool:
        try:
            return bed.kubectl("exec", asker, "--", *ask).strip() == "200"
        except KubectlFailed:  # nodes learn of the Service of a ready server with a delay
            return False

    ask = ["python3", "-c", ASK % "far.default.svc.cluster.local"]
    for asker in ("near", "far"):  # from the other node, and a pod to itself through the service
        wait_until(
            lambda asker=asker: answered(asker),  # type: ignore[misc]
            30,
            lambda: bed.kubectl("get", "pods,services,endpointslices", "-A"),
        )


def test_the_runtimes_image_has_the_locale_that_text_models_take(bed: Testbed) -> None:
    bed.kubectl("apply", "-f", "-", input=pod("locale", "cloud", ["sleep", "600"]))
    wait_ready(bed, "locale")
    ask = "import locale; print(locale.setlocale(locale.LC_ALL, 'en_US.UTF-8'))"
    assert bed.kubectl("exec", "locale", "--", "python3", "-c", ask).strip() == "en_US.UTF-8"


def test_a_nodes_pods_get_the_speed_of_its_class(bed: Testbed) -> None:
    bed.kubectl("apply", "-f", "-", input=pod("spin", "edge", ["sleep", "600"]))
    wait_ready(bed, "spin")

    shares = {}
    for speed in (0.2, 0.4):
        bed.node("edge").set_speed(speed)
        shares[speed] = float(bed.kubectl("exec", "spin", "--", "python3", "-c", SPIN))

    assert shares[0.2] == pytest.approx(0.2, rel=0.25)
    assert shares[0.4] / shares[0.2] == pytest.approx(2, rel=0.25)
    assert bed.status()["nodes"]["edge"]["speed"] == 0.4


def test_a_nodes_pods_run_on_the_processors_that_it_is_given(bed: Testbed) -> None:
    bed.kubectl("apply", "-f", "-", input=pod("pinned", "edge", ["sleep", "600"]))
    wait_ready(bed, "pinned")
    ask = "import os; print(*sorted(os.sched_getaffinity(0)))"

    def processors() -> list[int]:
        return [int(each) for each in bed.kubectl("exec", "pinned", "--", "python3", "-c", ask).split()]

    everything = processors()
    last = everything[-1]
    bed.node("edge").set_processors([last])
    assert processors() == [last]
    bed.node("edge").set_processors(None)
    assert processors() == everything


def processes_of(bed: Testbed, node: str) -> list[str]:
    """The command lines of a node's daemons and pods, which see the node's folder by its inner name."""
    mark, found = f"/.testbed/nodes/{node} /run/node ", []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(bed.layout.root) in (text := (entry / "mountinfo").read_text()) and mark in text:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    pods = Path("/sys/fs/cgroup").glob(f"*/{bed.layout.name}/{node}/**/cgroup.procs")
    return found + [text for file in pods if (text := file.read_text())]


def reachable(bed: Testbed, source: str, host: str, port: int) -> bool:
    program = f"import socket; socket.create_connection(('{host}', {port}), timeout=1)"
    done = subprocess.run(
        [*bed.in_node(source), sys.executable, "-c", program], capture_output=True, check=False
    )
    return done.returncode == 0


def test_a_cut_link_lets_nothing_through_until_it_is_restored(bed: Testbed) -> None:
    kubelet = bed.topology.address("edge"), 10250

    assert reachable(bed, "cloud", *kubelet)
    bed.link("edge").cut()
    assert not reachable(bed, "cloud", *kubelet)
    bed.link("edge").restore()
    wait_until(lambda: reachable(bed, "cloud", *kubelet), 20, lambda: str(bed.status()["nodes"]))


def test_a_killed_node_is_gone_at_once_and_comes_back_by_a_reboot(bed: Testbed) -> None:
    bed.kubectl("apply", "-f", "-", input=pod("survivor", "edge", SERVER))
    wait_ready(bed, "survivor")
    assert processes_of(bed, "edge")

    bed.node("edge").kill()
    assert processes_of(bed, "edge") == []
    assert bed.status()["nodes"]["edge"]["powered"] is False
    bed.node("edge").reboot(offline=True)
    assert bed.status()["nodes"]["edge"]["link_up"] is False
    bed.link("edge").restore()

    def restarted() -> bool:
        status = json.loads(bed.kubectl("get", "pod/survivor", "-o", "json"))["status"]
        containers = status.get("containerStatuses", [])
        return any(each["ready"] and each["restartCount"] > 0 for each in containers)

    wait_until(restarted, 120, lambda: bed.kubectl("describe", "pod/survivor"), every_seconds=1)


MODEL = b"""
import os
import numpy as np
import onnxruntime
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        self.session = onnxruntime.InferenceSession(os.path.join(os.path.dirname(__file__), "model.onnx"))

    def execute(self, requests):
        return [pb.InferenceResponse([pb.Tensor("y", self.run(request))]) for request in requests]

    def run(self, request):
        return self.session.run(None, {"x": pb.get_input_tensor_by_name(request, "x").as_numpy()})[0]
"""
TRITON_READY = """
import sys, urllib.request
urllib.request.urlopen(f"http://{sys.argv[1]}:8000/v2/health/ready", timeout=5)
"""
ASK_TRITON = """
import json, sys
import numpy as np
import tritonclient.http as http
from pathlib import Path

client = http.InferenceServerClient(f"{sys.argv[1]}:8000")
tensor = {"data_type": "TYPE_FP32", "dims": [-1, 4]}
config = {"backend": "python", "input": [{"name": "x", **tensor}], "output": [{"name": "y", **tensor}]}
folder = Path(sys.argv[2])
files = {f"file:1/{name}": (folder / name).read_bytes() for name in ("model.py", "model.onnx")}
key = {"edge-model-control": "of-the-testbed-alone"}
client.load_model("double", config=json.dumps(config), files=files, headers=key)
x = http.InferInput("x", [2, 4], "FP32")
x.set_data_from_numpy(np.arange(8, dtype=np.float32).reshape(2, 4))
print(json.dumps(client.infer("double", [x]).as_numpy("y").tolist()))
client.unload_model("double", headers=key)
"""


def test_triton_loads_a_model_over_the_network_and_runs_onnxruntime(bed: Testbed, tmp_path: Path) -> None:
    shape: list[str | int | None] = ["N", 4]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "model.py").write_bytes(MODEL)

    bed.start_triton(print)
    address = bed.kubectl("-n", "triton", "get", "service/triton", "-o", "jsonpath={.spec.clusterIP}")
    # The node learns of the Service shortly after the pod is ready.
    ready = [*bed.in_node("edge"), sys.executable, "-c", TRITON_READY, address]
    wait_until(lambda: succeeds(ready), 30, lambda: bed.kubectl("get", "pods,endpointslices", "-n", "triton"))
    argv = [*bed.in_node("edge"), sys.executable, "-c", ASK_TRITON, address, str(tmp_path)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[0, 2, 4, 6], [8, 10, 12, 14]]


def test_prometheus_finds_triton_by_its_annotations(bed: Testbed) -> None:
    url = bed.start_prometheus(print)

    def scraped() -> bool:
        query = [*bed.in_node("cloud"), "promtool", "query", "instant", url, 'up{namespace="triton"}']
        return "=> 1 @" in subprocess.run(query, check=True, capture_output=True, text=True).stdout

    wait_until(scraped, 60, lambda: str(bed.status()["daemons"]), every_seconds=1)
