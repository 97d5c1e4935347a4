"""A Tenant says what its services use of the pool, and stops them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from edge_api import reasons
from messages import mentions
from trials import GATEWAY, Document, Trial

NAME, POOL = "trial", "factory"
TENANT = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": NAME},
    "spec": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "fairSharing": {"weight": 2},
    },
}


@contextmanager
def created(trial: Trial) -> Iterator[None]:
    """The example's namespace as a tenant; without any Tenant at the end."""
    try:
        trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(TENANT))
        trial.wait("a status of the Tenant", lambda: bool(uses(trial)))
        yield
    finally:
        trial.cluster.kubectl("delete", "tenant", NAME, "--ignore-not-found", "--timeout=60s")
        trial.wait("the example Ready", lambda: ready(trial).get("status") == "True")


def status(trial: Trial) -> Document:
    found: Document = trial.get("tenant", NAME).get("status", {})
    return found


def uses(trial: Trial) -> dict[str, Document]:
    """What the Tenant has of the example's pool, by kind of resource; empty before it was planned."""
    pools = {each["name"]: each for each in status(trial).get("pools", [])}
    return {each["kind"]: each for each in pools.get(POOL, {}).get("resources", [])}


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


def test_a_tenant_reports_its_part_of_the_pool_and_its_creation_loses_no_request(trial: Trial) -> None:
    with trial.load("edge-b", rate=2) as load, created(trial):
        assert float(uses(trial)["cpu"]["nominal"]) > 0
        assert reason(trial, reasons.READY) == reasons.NAMESPACES_FOUND
        assert reason(trial, reasons.ACTIVE) == reasons.PLACING
        (listed,) = [each for each in status(trial)["pools"] if each["name"] == POOL]
        assert listed["services"] >= 1
        row = trial.cluster.kubectl("get", "tenant", NAME, "--no-headers").split()
        assert row[:2] == [NAME, "2"]
        assert row[2].endswith("%")
    load.check_none_lost()


def test_a_drained_tenant_refuses_requests_with_the_reason_and_serves_again(trial: Trial) -> None:
    with created(trial):
        stop(trial, "HoldAndDrain")
        trial.wait("the drained service", lambda: ready(trial).get("reason") == reasons.TENANT_DRAINED)
        trial.wait("the condition of the Tenant", lambda: reason(trial, reasons.ACTIVE) == reasons.DRAINED)
        trial.wait("a refusal with the reason", lambda: is_refused(trial))
        stop(trial, "None")
        trial.wait("the example Ready", lambda: ready(trial).get("status") == "True")
        assert trial.ask(GATEWAY).parameters["exit"] in trial.exits()
