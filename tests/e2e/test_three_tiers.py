"""Cameras send to the gateway, the gateway to Triton; codecs are chosen by accuracy on held-out digits."""

import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from demo import installation
from demo.samples import LabeledImages
from edge_api import reasons
from edge_api.quantities import parse_duration, parse_quantity
from mounts import Signer
from trials import Load, Trial

SERVICE, SECRET = "tiers", "edge-runtimes"
LEAST_RATE = 0.1e6  # bit/s; a slower link is not tried
STEP = 1.4  # from one tried rate of the links to the next
ANSWERS = 10  # within which the runtime notices a rate
LOCAL = "50M"
SHARE = 0.4  # of a camera's processor, if all requests take the local route
# Relative to their usual speed, while they are measured: the gateway takes the first layers and its part of a
# request in less time than a camera takes the layers alone, and the last layers in more time than Triton.
MEASURED_SPEEDS = {"gateway": 1.35, "camera": 0.55}
VALIDATED = 200  # held-out images on which codecs and confidences are measured
CODEC_LOSS = 0.02  # at most, in accuracy
# Seconds: the model store gives up measuring codecs after less.
MEASURED = 420


def manifests(trial: Trial) -> list[dict[str, Any]]:
    """The example's pool, with cameras as devices that take all requests."""
    pool, service = sorted(installation.example(trial.root, trial.cluster.triton), key=lambda m: m["kind"])
    pool["metadata"]["name"] = SERVICE
    for group in pool["spec"]["nodes"]:
        group["tier"] = "Device" if group["deviceClass"] == "camera" else "Edge"
        group["deviceClass"] = f"tiers-{group['deviceClass']}"
    pool["spec"]["links"]["local"] = {"bandwidth": LOCAL, "roundTrip": "1ms"}
    service["metadata"]["name"] = SERVICE
    service["spec"] |= {
        "devicePool": SERVICE,
        "mode": "PartitionOnly",
        "slo": {"latency": "800ms", "percentile": 95.0, "objective": 0.95},
        "entryNodes": {"nodeSelector": {"edge-intelligence.io/device-class": "camera"}},
    }
    service["spec"]["model"]["validation"] = {"storageUri": "store://digits/heldout.npz"}
    return [pool, service]


@pytest.fixture(scope="module")
def tiers(installed: Trial, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """The service with its own pool: Ready, codecs measured, slices of the intermediate node in use.

    The nodes are slow only while they are measured as separate classes, because slow pods take long to start.
    """
    trial, kubectl = installed, installed.cluster.kubectl
    file: Path = tmp_path_factory.mktemp("heldout") / "heldout.npz"
    samples = LabeledImages.load(trial.trained.held_out)
    np.savez_compressed(file, inputs=samples.images[:VALIDATED], labels=samples.labels[:VALIDATED])
    installation.upload(trial.cluster, file, "digits/heldout.npz")
    pool, service = manifests(trial)
    with trial.older_pool(pool):
        try:
            trial.cluster.set_speeds(
                {name: MEASURED_SPEEDS[name] * speed for name, speed in trial.speeds.items()}
            )
            kubectl("apply", "-f", "-", text=yaml.safe_dump(service))
            trial.wait("all classes", lambda: "tiers-gateway on" in said(trial, "Profiled"), 600)
            trial.cluster.set_speeds(trial.speeds)
            trial.wait("Ready", lambda: trial.condition(SERVICE, "Ready").get("status") == "True", 600)
            trial.wait("codecs", lambda: planned(trial), MEASURED)
            trial.wait("routes through the gateway", lambda: bool(helped(trial)), 300)
            yield trial
        finally:
            trial.cluster.set_speeds(trial.speeds)
            trial.cluster.set_links(None)
            kubectl("delete", "inferenceservice", SERVICE, "--wait", "--timeout=180s", "--ignore-not-found")


def table(trial: Trial, node: str) -> dict[str, Any]:
    spec: dict[str, Any] = trial.get("placement", f"{SERVICE}.{node}")["spec"]
    return spec


def profile(trial: Trial) -> dict[str, Any]:
    spec: dict[str, Any] = trial.get("modelprofile", SERVICE)["spec"]
    return spec


def helped(trial: Trial) -> list[dict[str, Any]]:
    """The routes of a camera through the gateway to Triton."""
    routes = table(trial, "edge-b")["routes"]
    return [r for r in routes if [s["place"] for s in r["stages"]][-2:] == ["edge-a", "cloud"]]


def rates(trial: Trial) -> list[float]:
    """Bit/s at which the camera may go by way of the gateway, the fastest first.

    What the runtime estimates of a link lies beside the link's rate, so one rate alone may miss the routes.
    """
    routes, names = table(trial, "edge-b")["routes"], {r["name"] for r in helped(trial)}
    needs = [float(parse_quantity(route["minBandwidth"])) for route in routes]
    found: list[float] = []
    for i, route in enumerate(routes):
        if route["name"] in names:
            low = max(needs[i], LEAST_RATE)
            high = needs[i - 1] if i else 4 * low
            steps = max(math.ceil(math.log(high / low, STEP)), 1)
            found += [high * (low / high) ** (k / steps) for k in range(steps + 1)]
    return sorted(found, reverse=True)


def pace(trial: Trial) -> float:
    """Requests a second that leave a camera most of its processor even by the local route."""
    alone = next(route for route in table(trial, "edge-b")["routes"] if route["cut"] == "local")
    assert [stage["place"] for stage in alone["stages"]] == ["edge-b"], alone
    return min(2.0, SHARE / float(parse_duration(alone["predictedLatency"])))


def slow_down(trial: Trial, found: Callable[[], bool], state: Callable[[], str]) -> None:
    """Slows the links down step by step until a response came by way of the gateway."""
    for rate in 3 * rates(trial):
        trial.cluster.set_links(rate)
        if found():
            return
    raise AssertionError(f"no answer by way of the gateway at {rates(trial)} bit/s\n{state()}")


def until_by_way_of_the_gateway(trial: Trial, load: Load) -> None:
    """Sets the links to a rate at which the camera's answers come by way of the gateway."""
    names = {r["name"] for r in helped(trial)}
    slow_down(trial, lambda: load.find(ANSWERS, lambda a: a.get("route") in names) is not None, load.state)


def test_the_gateway_runs_parts_for_cameras_and_takes_no_requests_of_its_own(tiers: Trial) -> None:
    slices = {each["model"] for each in table(tiers, "edge-a")["intermediateSlices"]}
    asked = {s["model"] for r in helped(tiers) for s in r["stages"] if s["place"] == "edge-a"}
    assert asked <= slices
    by_tls = "https://edge-runtime-edge-a.default.svc.cluster.local:8443"
    tiers.wait("hops by TLS", lambda: set(hops(tiers)) == {by_tls})
    status = tiers.get("inferenceservice", SERVICE)["status"]
    assert [entry["node"] for entry in status["entries"]] == ["edge-b", "edge-c"]


def test_codecs_were_measured_and_what_they_lose_is_in_the_accuracy_of_the_routes(tiers: Trial) -> None:
    codecs = {codec for r in table(tiers, "edge-b")["routes"] for codec in r.get("codecs", [])}
    assert codecs - {"fp32"}, json.dumps(table(tiers, "edge-b")["routes"])[:4000]
    whole = max(r["accuracy"] for r in table(tiers, "edge-b")["routes"])
    assert all(whole - r["accuracy"] <= CODEC_LOSS for r in table(tiers, "edge-b")["routes"])


def planned(trial: Trial) -> bool:
    """Whether the published tables were planned with the accuracies of codecs."""
    conditions = trial.get("inferenceservice", SERVICE).get("status", {}).get("conditions", [])
    found = {each["type"]: each for each in conditions}
    if any(found.get(kind, {}).get("status") != "True" for kind in (reasons.PLANNED, reasons.PLACED)):
        return False
    return bool(found[reasons.PLANNED]["reason"] != reasons.MEASURING_CODECS)


def said(trial: Trial, condition: str) -> str:
    """The message of a condition that is True."""
    found = trial.condition(SERVICE, condition)
    return str(found["message"]) if found.get("status") == "True" else ""


def test_cameras_are_answered_by_way_of_the_gateway_and_triton_as_the_whole_model_says(
    tiers: Trial,
) -> None:
    with tiers.load("edge-b", rate=pace(tiers), service=SERVICE) as load:
        until_by_way_of_the_gateway(tiers, load)
        answer = tiers.ask("edge-b", service=SERVICE)
    load.check_none_lost()
    whole = tiers.whole(str(answer.parameters["exit"]))
    assert (answer.values.argmax(1) == whole.argmax(1)).all()
    np.testing.assert_allclose(answer.values, whole, atol=0.05 * float(np.ptp(whole)))


def test_inputs_leave_early_as_the_validation_data_said_and_the_plan_counts_on_it(tiers: Trial) -> None:
    *_, before_last, last = tiers.exits()
    measured = {each["threshold"]: each["exits"] for each in profile(tiers)["confidences"]}
    means = {
        threshold: sum(each["share"] * each["accuracy"] for each in exits)
        for threshold, exits in measured.items()
    }
    # The lowest threshold, by which the most inputs leave, that is worth more than any other exit.
    threshold = min(t for t, mean in means.items() if mean > tiers.accuracies()[before_last] + CODEC_LOSS)
    assert any(each["share"] > 0 for each in measured[threshold] if each["exit"] != last)

    def counted_on() -> list[float]:
        routes = table(tiers, "edge-b")["routes"]
        return [float(route["accuracy"]) for route in routes if "?" in route["name"]]

    # At the node alone, where all exits are.
    confident = {
        "mode": "Auto",
        "privacy": "Local",
        "earlyExit": {"mode": "Confidence", "threshold": threshold},
    }
    images = iter(range(VALIDATED))
    try:
        patch(tiers, confident)
        tiers.wait("a route with early exits", lambda: bool(counted_on()))
        assert counted_on() == pytest.approx([means[threshold]])
        tiers.wait("an early exit", lambda: left_early(tiers, next(images)))
    finally:
        patch(tiers, {"mode": "PartitionOnly", "privacy": None, "earlyExit": None})
        tiers.wait("routes through the gateway", lambda: not counted_on() and bool(helped(tiers)))


def left_early(trial: Trial, index: int) -> bool:
    """Whether a held-out image gets the response of an early exit."""
    answer = trial.ask("edge-b", service=SERVICE, index=index)
    return bool(answer.parameters["cut"] == "local" and answer.parameters["exit"] != trial.exits()[-1])


def patch(trial: Trial, spec: dict[str, Any]) -> None:
    """Merges fields into the service's spec."""
    change = json.dumps({"spec": spec})
    trial.cluster.kubectl("patch", "inferenceservice", SERVICE, "--type", "merge", "-p", change)


def pods(trial: Trial, node: str = "edge-a", *, ready: bool = False) -> set[str]:
    """A node's pods by uid; those that are Ready have loaded the tables that were published before."""
    label = f"edge-intelligence.io/runtime=edge-runtime-{node}"
    found = json.loads(trial.cluster.kubectl("get", "pods", "-l", label, "-o", "json"))["items"]
    conditions = {pod["metadata"]["uid"]: pod["status"].get("conditions", []) for pod in found}
    return {
        uid
        for uid, said in conditions.items()
        if not ready or any(c["type"] == "Ready" and c["status"] == "True" for c in said)
    }


def test_a_gateway_that_dies_costs_no_request_and_is_used_again(tiers: Trial) -> None:
    names, before = {r["name"] for r in helped(tiers)}, pods(tiers)
    with tiers.load("edge-b", rate=pace(tiers), service=SERVICE) as load:
        until_by_way_of_the_gateway(tiers, load)
        tiers.cluster.kubectl("delete", "pod", "-l", "edge-intelligence.io/runtime=edge-runtime-edge-a",
                              "--force", "--grace-period=0")  # fmt: skip
        load.wait_for("another route", lambda a: a.get("route") not in (None, *names))
        # The new pod has to fetch its slices, which are as large as the model.
        tiers.cluster.set_links(None)
        tiers.wait("a new pod of the gateway", partial(renewed, tiers, "edge-a", before))
        until_by_way_of_the_gateway(tiers, load)
    load.check_none_lost()


def local_rate(trial: Trial) -> float:
    """Bit/s of the camera's link to the gateway that its routes are planned for."""
    links = table(trial, "edge-b").get("localLinks", [])
    return next(float(parse_quantity(link["bandwidth"])) for link in links if link["peer"] == "edge-a")


def test_a_slow_link_between_nodes_is_measured_and_the_plan_follows(tiers: Trial) -> None:
    declared = float(parse_quantity(LOCAL))
    tiers.wait("the link to the gateway in the plan", lambda: bool(table(tiers, "edge-b").get("localLinks")))
    link = tiers.bed.link("edge-b")
    link.set_local_rate(4e6)
    try:
        tiers.wait("the plan for a slow link", lambda: local_rate(tiers) < 0.2 * declared, 300)
    finally:
        link.set_local_rate(None)
    tiers.wait("the plan for the fast link", lambda: local_rate(tiers) > 0.5 * declared, 300)
    tiers.wait("routes through the gateway", lambda: bool(helped(tiers)), 300)


def with_secret(trial: Trial, folder: Path) -> Path:
    """A folder of certificates for the runtimes and a client, also in the Secret."""
    kubectl = trial.cluster.kubectl
    services = json.loads(kubectl("get", "services", "-n", "default", "-o", "json"))["items"]
    addresses = [s["spec"]["clusterIP"] for s in services if s["spec"]["clusterIP"] != "None"]
    mount = folder / "tls"
    mount.mkdir()
    for name, data in Signer(folder).pair(hosts=("*.default.svc.cluster.local", *addresses)).items():
        (mount / name).write_bytes(data)
    kubectl("create", "secret", "generic", SECRET, "-n", "default", f"--from-file={mount}")
    return mount


def upload_again(trial: Trial) -> None:
    """Puts the model into a store whose pod was replaced and that has no persistent volume."""
    installation.upload(trial.cluster, trial.trained.onnx)


def renewed(trial: Trial, node: str, before: set[str]) -> bool:
    """Whether a new pod has loaded the published table."""
    return bool(pods(trial, node, ready=True) - before)


def ended(trial: Trial, node: str, before: set[str]) -> bool:
    """Whether the pods that were there before are gone."""
    return not pods(trial, node) & before


def route_with(trial: Trial, tls: Path | None) -> str | None:
    """The route of the camera's response to a caller with these certificates; None without a response."""
    try:
        return str(trial.ask("edge-b", service=SERVICE, tls=tls).parameters["route"])
    except AssertionError:
        return None


def hops(trial: Trial) -> list[str]:
    """The address of the gateway for cameras."""
    stages = [s for r in table(trial, "edge-b")["routes"] for s in r["stages"]]
    return [s["address"] for s in stages if s["place"] == "edge-a"]


@pytest.mark.extended
def test_with_certificates_no_stage_answers_without_and_answers_come_by_way_of_the_gateway(
    tiers: Trial, tmp_path: Path
) -> None:
    tiers.cluster.set_links(None)
    mount = with_secret(tiers, tmp_path)
    before = {node: pods(tiers, node) for node in ("edge-a", "edge-b")}

    def by_the_gateway() -> bool:
        names = {r["name"] for r in helped(tiers)}
        return any(route_with(tiers, mount) in names for _ in range(ANSWERS))

    try:
        installation.install(tiers.cluster, tiers.root, "tls.mode=Secrets", f"runtime.tlsSecret={SECRET}")
        upload_again(tiers)
        for node, old in before.items():
            tiers.wait(f"a pod with certificates at {node}", partial(renewed, tiers, node, old))
            # The old pod answers without TLS until its Service has lost it.
            tiers.wait(f"the end of the old pod at {node}", partial(ended, tiers, node, old))
        tiers.wait("hops with TLS", lambda: all(a.startswith("https://") for a in hops(tiers) or [""]), 120)
        tiers.wait("an answer with TLS", lambda: route_with(tiers, mount) is not None)
        slow_down(tiers, by_the_gateway, lambda: f"{tiers.routes('edge-b', SERVICE)}\n{tiers.state()}")
        assert route_with(tiers, None) is None
    finally:
        tiers.cluster.set_links(None)
        installation.install(tiers.cluster, tiers.root)
        upload_again(tiers)
        tiers.cluster.kubectl("delete", "secret", SECRET, "-n", "default")
