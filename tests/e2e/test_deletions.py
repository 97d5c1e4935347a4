"""A DevicePool or a Tenant that services use names them and stays, and goes with the last of them."""

import json
from collections.abc import Iterator

import pytest
import yaml

from demo import installation
from edge_api import reasons
from edge_operator.names import IN_USE_FINALIZER
from messages import mentions
from testbed.errors import KubectlFailed
from trials import GATEWAY, UNPROTECTED, Document, Trial, another_service

HELD = "held"
POOL = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "DevicePool",
    "metadata": {"name": HELD},
    "spec": {"nodes": [{"tier": "Edge", "deviceClass": HELD, "nodeSelector": {"class": HELD}}]},
}
TENANT = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": HELD},
    "spec": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
}


def found(trial: Trial, kind: str, name: str) -> Document:
    """An object; empty if it does not exist."""
    text = trial.cluster.kubectl("get", kind, name, "--ignore-not-found", "-o", "json")
    return dict(json.loads(text or "{}"))


def in_use(trial: Trial, kind: str, name: str) -> Document:
    """The condition InUse of an object; empty without one."""
    conditions = found(trial, kind, name).get("status", {}).get("conditions", [])
    return next((dict(each) for each in conditions if each["type"] == reasons.IN_USE), {})


def is_protected(trial: Trial, kind: str, name: str) -> bool:
    return IN_USE_FINALIZER in found(trial, kind, name).get("metadata", {}).get("finalizers", [])


def wait_held(trial: Trial, kind: str, name: str) -> Document:
    trial.wait(f"InUse of {kind} {name}", lambda: bool(in_use(trial, kind, name)))
    return in_use(trial, kind, name)


def planned(trial: Trial) -> int:
    """The generation of the example that its condition Planned is about."""
    return int(trial.condition("digits", "Planned").get("observedGeneration", 0))


def refusal(trial: Trial, body: Document) -> str:
    """Why the API server does not accept an object; empty if it would. Nothing is stored."""
    try:
        trial.cluster.kubectl("apply", "--dry-run=server", "-f", "-", text=yaml.safe_dump(body))
    except KubectlFailed as error:
        return str(error)
    return ""


@pytest.fixture
def held(trial: Trial) -> Iterator[Trial]:
    """A pool without nodes that one service names."""
    kubectl, service = trial.cluster.kubectl, another_service(HELD)
    service["spec"]["devicePool"] = HELD
    kubectl("apply", "-f", "-", text=yaml.safe_dump_all([POOL, service]))
    try:
        trial.wait("the finalizer", lambda: is_protected(trial, "devicepool", HELD))
        yield trial
    finally:
        kubectl("delete", "inferenceservice", HELD, "--ignore-not-found", "--timeout=120s")
        kubectl("delete", "devicepool", HELD, "--ignore-not-found", "--timeout=120s")


def test_a_pool_goes_with_the_last_service_that_names_it(held: Trial) -> None:
    kubectl = held.cluster.kubectl
    kubectl("delete", "devicepool", HELD, "--wait=false")
    condition = wait_held(held, "devicepool", HELD)
    assert (condition["status"], condition["reason"]) == ("True", reasons.USED_BY_SERVICES)
    assert mentions(f"default/{HELD}", "spec.devicePool").search(condition["message"])
    columns = kubectl("get", "devicepool", HELD, "--no-headers").split()
    assert columns[0] == HELD
    assert "True" in columns[1:]
    happened = f"--field-selector=reason={reasons.USED_BY_SERVICES},involvedObject.name={HELD}"
    held.wait("the event", lambda: bool(kubectl("get", "events", "-A", happened, "-o", "name")))
    kubectl("delete", "inferenceservice", HELD, "--timeout=120s")
    held.wait("the end of the pool", lambda: not found(held, "devicepool", HELD))


def test_a_pool_that_is_being_deleted_serves_on_and_takes_no_further_service(trial: Trial) -> None:
    kubectl = trial.cluster.kubectl
    trial.wait("the finalizer", lambda: is_protected(trial, "devicepool", "factory"))
    with trial.load(GATEWAY) as load:
        kubectl("delete", "devicepool", "factory", "--wait=false")
        try:
            assert "default/digits" in wait_held(trial, "devicepool", "factory")["message"]
            generation = trial.get("inferenceservice", "digits")["metadata"]["generation"]
            trial.patch({"minReadyEntries": 1})
            trial.wait("the change planned on the pool", lambda: planned(trial) > generation)
            assert trial.condition("digits", "Planned")["status"] == "True"
            trial.wait("a refusal", lambda: reasons.POOL_ENDS in refusal(trial, another_service("late")))
            load.wait_for("a response", lambda response: "error" not in response)
        finally:
            kubectl("patch", "devicepool", "factory", "--type=merge", "-p", UNPROTECTED)
            trial.patch({"minReadyEntries": None})
            installation.apply(trial.cluster, trial.root, trial.slo)
        trial.wait("the example on the new pool", trial.serves_everywhere)
    load.check_none_lost()


def test_a_tenant_goes_once_its_namespaces_are_no_longer_its_own(trial: Trial) -> None:
    kubectl = trial.cluster.kubectl
    kubectl("apply", "-f", "-", text=yaml.safe_dump(TENANT))
    try:
        trial.wait("the finalizer", lambda: is_protected(trial, "tenant", HELD))
        kubectl("delete", "tenant", HELD, "--wait=false")
        condition = wait_held(trial, "tenant", HELD)
        assert mentions("default/digits", "spec.namespaceSelector").search(condition["message"])
    finally:
        installation.delete_tenant(trial.cluster.kubectl, HELD)
    assert not found(trial, "tenant", HELD)
