"""The Jobs that install units, and the node ports of Placements, as the runtime reads them."""

import json
from pathlib import Path

import pytest

from edge_operator.nodes.host_unit_jobs import unit_job
from edge_operator.nodes.workloads import GRPC_PORT, HTTP_PORT, restricted_pod
from edge_operator.settings import Settings
from edge_runtime.cli import _parser
from edge_runtime.stand_in.kept_runtimes import kept_runtimes
from edge_runtime.stand_in.process import PORTS, USER

SETTINGS = Settings("http://store:8080", "runtime:1", kubelet_dir="/var/lib/k0s/kubelet")


@pytest.mark.parametrize("action", ["install", "remove"])
def test_the_runtime_accepts_the_arguments_of_the_jobs(action: str) -> None:
    job = unit_job(action, "camera-1", "camera-1", SETTINGS)  # type: ignore[arg-type]
    arguments = _parser().parse_args(job["spec"]["template"]["spec"]["containers"][0]["args"])
    assert (arguments.command, arguments.host) == (f"{action}-unit", Path("/host"))
    if action == "install":
        assert arguments.arguments[0] == "--"
        standing_in = _parser().parse_args(arguments.arguments[1:])
        assert standing_in.kubelet_dir == Path("/var/lib/k0s/kubelet")


def test_pods_have_the_ports_the_user_and_the_folder_that_a_unit_expects(tmp_path: Path) -> None:
    assert PORTS == {"http": HTTP_PORT, "grpc": GRPC_PORT}
    pod = restricted_pod({}, "camera-1", SETTINGS)
    assert pod["securityContext"]["runAsUser"] == USER
    (volume,) = (each for each in pod["volumes"] if each["name"] == "cache")
    assert volume == {"name": "cache", "emptyDir": {}}  # on the disk: its name is that of the folder
    folder = tmp_path / "pods" / "1" / "volumes" / "kubernetes.io~empty-dir" / volume["name"]
    (folder / "services" / "digits").mkdir(parents=True)
    document = {"metadata": {"namespace": "shop"}, "spec": {"service": "digits", "node": "camera-1"}}
    (folder / "services" / "digits" / "placement.json").write_text(json.dumps(document))
    assert [key.namespace for key in kept_runtimes(tmp_path)] == ["shop"]
