"""A Tenant says what its services use of the pool, and stops them."""

import json
from collections.abc import Iterator

import pytest
import yaml

from edge_api import reasons
from messages import mentions
from trials import GATEWAY, Document, Trial

NAME, POOL = "trial", "factory"


def tenant(**spec: object) -> Document:
    """A Tenant of the example's namespace."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}
    return {
        "apiVersion": "edge-intelligence.io/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": NAME},
        "spec": {"namespaceSelector": selector, "fairSharing": {"weight": 2}, **spec},
    }


@pytest.fixture
def shared(trial: Trial) -> Iterator[Trial]:
    """The example's namespace as a tenant; without any Tenant at the end."""
    try:
        trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(tenant()))
        trial.wait("a status of the Tenant", lambda: bool(status(trial).get("pools")))
        yield trial
    finally:
        trial.cluster.kubectl("delete", "tenant", NAME, "--ignore-not-found")
        trial.wait("the example Ready", lambda: ready(trial)["status"] == "True")


def status(trial: Trial) -> Document:
    found: Document = trial.get("tenant", NAME).get("status", {})
    return found


def reason(trial: Trial, kind: str) -> str:
    conditions = status(trial).get("conditions", [])
    return next((str(each["reason"]) for each in conditions if each["type"] == kind), "")


def ready(trial: Trial) -> Document:
    return trial.condition("digits", reasons.READY)


def stop(trial: Trial, policy: str) -> None:
    change = json.dumps({"spec": {"stopPolicy": policy}})
    trial.cluster.kubectl("patch", "tenant", NAME, "--type", "merge", "-p", change)


def is_refused(trial: Trial) -> bool:
    """Whether the response to a request names the Tenant and what stops it."""
    try:
        trial.ask(GATEWAY)
    except AssertionError as error:
        return mentions(f"[503] Tenant {NAME}", "HoldAndDrain").search(str(error)) is not None
    return False


def test_a_tenant_reports_its_part_of_the_pool_and_moves_no_table(shared: Trial) -> None:
    before = {node: body["spec"] for node, body in shared.placements().items()}
    (pool,) = status(shared)["pools"]
    assert pool["name"] == POOL
    assert pool["services"] >= 1
    cpu = next(each for each in pool["resources"] if each["kind"] == "cpu")
    assert float(cpu["nominal"]) > 0
    assert reason(shared, reasons.READY) == reasons.NAMESPACES_FOUND
    row = shared.cluster.kubectl("get", "tenant", NAME, "--no-headers").split()
    assert row[:2] == [NAME, "2"]
    assert row[2].endswith("%")
    assert {node: body["spec"] for node, body in shared.placements().items()} == before


def test_a_drained_tenant_refuses_requests_with_the_reason_and_serves_again(shared: Trial) -> None:
    stop(shared, "HoldAndDrain")
    shared.wait("the drained service", lambda: ready(shared)["reason"] == reasons.TENANT_DRAINED)
    shared.wait("the refusal of the Tenant", lambda: reason(shared, reasons.ACTIVE) == reasons.DRAINED)
    shared.wait("a refusal with the reason", lambda: is_refused(shared))
    stop(shared, "None")
    shared.wait("the example Ready", lambda: ready(shared)["status"] == "True")
    assert shared.ask(GATEWAY).parameters["exit"] in shared.exits()
