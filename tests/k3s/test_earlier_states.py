"""Installations of two earlier states are upgraded while requests flow, and lose none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from earlier_states import STATES, EarlierState, chart, sources
from edge_operator.names import FINALIZER, IN_USE_FINALIZER
from k3s_site import CHART, EDGE, NAMESPACE, POOL, RELEASE, SERVICE, Site
from testbed.images import CHART_NAMES

UPLOAD = f"/api/v1/namespaces/{NAMESPACE}/services/http:model-store:8080/proxy/v1/files/digits/digits.onnx"


@pytest.fixture(params=STATES, ids=lambda state: state.commit)
def earlier(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[EarlierState]:
    """The chart of an earlier state is installed with its images, and its service is Ready."""
    state: EarlierState = request.param
    site.clear()
    site.bed.images_at(sources(state, tmp_path), state.commit)
    site.install(chart=chart(state, tmp_path))
    if state.tokens:
        site.upload()
    else:
        site.bed.kubectl("replace", "--raw", UPLOAD, "-f", str(site.model.onnx))
    groups = [{**group, "tier": state.tier} for group in POOL["spec"]["nodes"]]
    # Without a port of the nodes, which the first state did not have.
    service = {name: value for name, value in SERVICE["spec"].items() if name != "exposure"}
    site.apply({**POOL, "spec": {"nodes": groups}}, {**SERVICE, "spec": service})
    site.wait_ready()
    yield state
    site.clear()


def images(site: Site) -> set[str]:
    """The images of all containers of pods in the two namespaces that are not ending."""
    return {
        container["image"].removeprefix("docker.io/")
        for namespace in (NAMESPACE, "default")
        for pod in site.get("pods", "-n", namespace)["items"]
        if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") == "Running"
        for container in pod["spec"]["containers"]
    }


def conditions(body: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in body.get("status", {}).get("conditions", ())}


def settled(site: Site) -> bool:
    """Whether everything runs in this version, and the service serves by its newest plan."""
    found = conditions(site.get("inferenceservice", "digits", "-n", "default"))
    wanted = dict.fromkeys(("Ready", "ModelReady", "Profiled", "Planned", "Placed"), "True")
    calm = {"Progressing": "False", "Degraded": "False"}
    return images(site) == set(CHART_NAMES.values()) and (wanted | calm).items() <= found.items()


def test_an_upgrade_loses_no_request_and_reads_what_the_earlier_state_wrote(
    site: Site, earlier: EarlierState
) -> None:
    assert images(site) == {name.replace(":0.1.0", f":{earlier.commit}") for name in CHART_NAMES.values()}
    before = site.uids()
    address = site.get("service", "digits", "-n", "default")["spec"]["clusterIP"]
    # The Service of the first state led to the runtime of the client's own node alone.
    traffic = site.traffic(url=f"http://{address}:8080", node=EDGE.name)
    site.wait(lambda: bool(traffic.responses), "no response yet")
    try:
        site.helm("upgrade", RELEASE, str(CHART), "--wait", "--timeout", "300s")
        site.wait(lambda: settled(site), "the upgrade has not settled")
        site.wait(lambda: leftovers(site) == [], "objects of the earlier state are left")
    finally:
        responses = traffic.stop()
    lost = [each for each in responses if "error" in each]
    assert lost == [], f"{len(lost)} of {len(responses)} requests failed"
    after = site.uids()
    assert {name: uid for name, uid in after.items() if name in before} == before
    pool = site.get("devicepool", "factory")
    assert conditions(pool)["Ready"] == "True"
    assert pool["metadata"]["finalizers"] == [IN_USE_FINALIZER]
    service = site.get("inferenceservice", "digits", "-n", "default")
    assert service["metadata"]["finalizers"] == [FINALIZER]
    (placement,) = site.get("placements", "-n", "default")["items"]
    assert placement["metadata"]["name"] == f"digits.{EDGE.name}"
    assert placement["status"]["observedGeneration"] == placement["metadata"]["generation"]
    site.wait(lambda: leader(site) in operators(site), "no replica of this version took the Lease over")


def operators(site: Site) -> set[str]:
    """The pods of the operator that are not ending."""
    found = site.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=edge-operator")["items"]
    return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


def leader(site: Site) -> str:
    """The pod that holds the Lease."""
    holder = site.get("lease", "edge-operator", "-n", NAMESPACE)["spec"].get("holderIdentity", "")
    return str(holder).rpartition("_")[0]


def leftovers(site: Site) -> list[str]:
    """Objects with names of the earlier state that this version replaces."""
    names = site.bed.kubectl("get", "deployments,services,placements", "-n", "default", "-o", "name").split()
    return [name for name in names if name.rpartition("/")[2] == f"digits-{EDGE.name}"]
