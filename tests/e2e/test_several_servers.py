"""Two Triton servers, one of them outside the cluster: chosen by the plan, left by the pool, lost."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import onnx
import pytest
import yaml

from demo import installation
from edge_api.quantities import parse_duration
from testbed.topology import CLOUD
from trials import GATEWAY, Document, Trial

pytestmark = pytest.mark.extended

NAME = "sites"  # of the pool and the service
# Services of the testbed's servers, through which tests observe them.
CLUSTERS, OUTSIDE = "triton", "triton-outside"
# The gateway's speed relative to its usual one: slower than the server outside, also on a busy machine.
SLOWED = 0.4
# The SLO in times of the gateway for the whole model: the gateway alone meets it by the early exit only.
SHARE = 0.7
FOREIGN = "0123456789ab"  # another installation
LOAD_FOREIGN = Path(__file__).parents[2] / "benchmarks" / "experience" / "foreign_model.py"

COMMON = {"backend": "python", "controlSecret": "triton-control"}
# The class of a group of nodes: the plan takes the server to be as slow as the gateway.
SLOW = {"name": "slow", "httpAddress": "triton.triton.svc.cluster.local:8000", "deviceClass": "gateway"}
# Without a selector of nodes: measured by requests to the server.
REGION = {"name": "region", "httpAddress": "region.default.svc.cluster.local:8000", "deviceClass": "region"}
LIKE_REGION = SLOW | {"name": "like-region", "deviceClass": "region"}


def pool(*servers: Document) -> Document:
    """The gateway with these Triton servers."""
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "DevicePool",
        "metadata": {"name": NAME},
        "spec": {
            "nodes": [
                {
                    "deviceClass": "gateway",
                    "nodeSelector": {"edge-intelligence.io/device-class": "gateway"},
                }
            ],
            "tritonServers": [server | COMMON for server in servers],
        },
    }


def service(trial: Trial) -> Document:
    """With the first exit of the example, and the last: fewer slices are measured than for all of them.

    Its SLO is met by any route, until the measurements tell which one to set.
    """
    fields = ("name", "output", "accuracy")
    exits = [{field: exit_[field] for field in fields} for exit_ in trial.listed_exits()]
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {
            "model": {"storageUri": f"store://{NAME}/model.onnx", "exits": [exits[0], exits[-1]]},
            "slo": {"latency": "10s"},
            "devicePool": NAME,
        },
    }


def outside_address(host: str, port: str) -> list[Document]:
    """A Kubernetes Service for an address outside the cluster."""
    metadata = {"name": "region", "namespace": "default"}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 8000}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": {"kubernetes.io/service-name": "region"}},
            "addressType": "IPv4",
            "ports": [{"port": int(port)}],
            "endpoints": [{"addresses": [host]}],
        },
    ]


def another_model(trained: Path, folder: Path) -> Path:
    """The example's model with one weight changed: no tail of it is one of the example's."""
    model = onnx.load(trained)
    weight = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[0] += 1e-3
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def sites(installed: Trial, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """The service on a pool of a slow server and one outside the cluster, which has models of others.

    Both classes are measured.
    """
    trial, kubectl = installed, installed.cluster.kubectl
    trial.cluster.set_links(None)
    installation.upload(
        trial.cluster,
        another_model(trial.trained.onnx, tmp_path_factory.mktemp(NAME)),
        f"{NAME}/model.onnx",
    )
    foreign = foreign_models(trial.triton_models())
    with trial.older_pool(pool(SLOW)):
        try:
            trial.bed.node(GATEWAY).set_speed(SLOWED * trial.speeds["gateway"])
            address = trial.bed.start_outside_triton()
            kubectl("apply", "-f", "-", text=yaml.safe_dump_all(outside_address(*address.split(":"))))
            for name in foreign:
                load_foreign(trial, address, name)
            manifests = [pool(SLOW, REGION), service(trial)]
            kubectl("apply", "-f", "-", text=yaml.safe_dump_all(manifests))
            for condition in ("Profiled", "Ready"):
                trial.wait(condition, partial(is_true, trial, condition), 420)
            yield trial
        finally:
            trial.bed.node(GATEWAY).set_speed(trial.speeds["gateway"])
            gone = ("--ignore-not-found", "--timeout=120s")
            kubectl("delete", "inferenceservice", NAME, *gone)
            kubectl("delete", "service,endpointslice", "region", *gone)
            trial.bed.stop_outside_triton()


def is_true(trial: Trial, condition: str) -> bool:
    return bool(trial.condition(NAME, condition).get("status") == "True")


def classes(trial: Trial) -> dict[str, Document]:
    """The measured classes by name."""
    found = trial.get("modelprofile", NAME)["spec"]["deviceClasses"]
    return {each["name"]: each for each in found}


def foreign_models(names: Iterable[str]) -> set[str]:
    """Names of models that bear another installation's mark; one begins like a tail of ours in `names`."""
    ours = next(name for name in names if name.startswith("edge-")).split("-")[1]
    return {f"edge-{FOREIGN}-{0:024x}", f"edge-{ours}-{0:024x}"}


def load_foreign(trial: Trial, address: str, name: str) -> None:
    secret = trial.get("secret", "triton-control", "triton")
    key = base64.b64decode(secret["data"]["key"]).decode()
    argv = [*trial.bed.in_node(CLOUD), sys.executable, str(LOAD_FOREIGN)]
    subprocess.run([*argv, address, "edge-model-control", key, name, FOREIGN], check=True, timeout=120)


def placement(trial: Trial) -> Document:
    return trial.get("placement", f"{NAME}.{GATEWAY}")


def tails(trial: Trial) -> set[str]:
    """The tails in the published table."""
    stages = [stage for route in placement(trial)["spec"]["routes"] for stage in route["stages"]]
    return {stage["model"] for stage in stages if stage["runtime"] == "Triton"}


def uses(trial: Trial, server: Document) -> bool:
    """Whether the runtime has loaded a table with routes to the server."""
    found = placement(trial)
    status = found.get("status", {})
    stages = [stage for route in found["spec"]["routes"] for stage in route["stages"]]
    return (
        {stage["place"] for stage in stages if stage["runtime"] == "Triton"} == {server["name"]}
        and bool(status.get("loaded"))
        and status.get("observedGeneration") == found["metadata"]["generation"]
    )


def requests(trial: Trial, server: str) -> int:
    """How many requests the server has served by the tails of the published table."""
    models = trial.triton_models(server)
    return sum(models.get(name, 0) for name in tails(trial))


def shown(trial: Trial) -> str:
    """What the choice is made from."""
    table = placement(trial)
    return json.dumps(
        {"classes": classes(trial), "link": table["spec"].get("link"), "status": table.get("status")}
    )


def wait(trial: Trial, what: str, condition: Callable[[], bool]) -> None:
    try:
        trial.wait(what, condition, 300)
    except Exception as error:
        error.add_note(shown(trial))
        raise


def test_the_better_server_is_used_and_was_measured_by_requests_to_itself(sites: Trial) -> None:
    assert {name: each["node"] for name, each in classes(sites).items()} == {
        "gateway": GATEWAY,
        "region": REGION["name"],
    }
    alone = max(float(parse_duration(each["mean"])) for each in classes(sites)["gateway"]["exits"])
    slo = json.dumps({"spec": {"slo": {"latency": f"{SHARE * alone * 1e3:.0f}ms"}}})
    sites.cluster.kubectl("patch", "inferenceservice", NAME, "--type", "merge", "-p", slo)
    wait(sites, "routes to the server outside", lambda: uses(sites, REGION))
    before = {server: requests(sites, server) for server in (OUTSIDE, CLUSTERS)}
    with sites.load(GATEWAY, rate=4, service=NAME) as load:
        load.wait_for_cut()
        wait(sites, "requests there", lambda: requests(sites, OUTSIDE) >= before[OUTSIDE] + 4)
    load.check_none_lost()
    assert requests(sites, CLUSTERS) == before[CLUSTERS]


def test_a_server_that_leaves_the_pool_loses_our_tails_and_keeps_those_of_others(sites: Trial) -> None:
    ours = tails(sites)
    foreign = foreign_models(ours)
    assert ours | foreign <= sites.triton_models(OUTSIDE).keys()

    def former() -> list[str]:
        status = sites.get("devicepool", NAME)["status"]
        return [each["address"] for each in status.get("formerTritonServers", [])]

    with sites.load(GATEWAY, rate=4, service=NAME) as load:
        sites.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(pool(LIKE_REGION)))
        wait(sites, "the record", lambda: former() == [f"http://{REGION['httpAddress']}"])
        wait(sites, "routes to the other server", lambda: uses(sites, LIKE_REGION))
        wait(sites, "requests there", lambda: requests(sites, CLUSTERS) > 0)
        wait(sites, "the end of our tails", lambda: sites.triton_models(OUTSIDE).keys() == foreign)
        wait(sites, "the end of the record", lambda: not former())
        load.wait_for_cut()
    load.check_none_lost()


def test_requests_are_served_locally_then_by_the_other_server_when_one_is_killed(sites: Trial) -> None:
    kubectl = sites.cluster.kubectl
    deployment = ("deployment/triton", "-n", "triton")
    kubectl("apply", "-f", "-", text=yaml.safe_dump(pool(LIKE_REGION, REGION)))
    with sites.load(GATEWAY, rate=4, service=NAME) as load:
        load.wait_for_cut()
        kubectl("scale", "--replicas=0", *deployment)
        try:
            label = "app.kubernetes.io/name=triton"
            kubectl("delete", "pod", "-n", "triton", "-l", label, "--force", "--grace-period=0")
            load.wait_for_local()
            wait(sites, "routes to the other server", lambda: uses(sites, REGION))
            message = sites.condition(NAME, "Placed")["message"]
            assert f"{LIKE_REGION['name']} does not respond: region is used at {GATEWAY}" in message
            load.wait_for_cut()
            wait(sites, "requests there", lambda: requests(sites, OUTSIDE) > 0)
        finally:
            kubectl("scale", "--replicas=1", *deployment)
            kubectl("rollout", "status", *deployment, "--timeout=120s")
    load.check_none_lost()
    example = {
        stage["model"]
        for found in sites.placements().values()
        for route in found["spec"]["routes"]
        for stage in route["stages"]
        if stage["runtime"] == "Triton"
    }
    sites.wait("the example's tails", lambda: example <= sites.triton_models().keys())
