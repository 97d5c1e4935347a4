"""Admission refuses at the API server what its rules forbid, and nothing depends on it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from demo import installation
from demo.installation import NAMESPACE
from edge_api import reasons
from messages import mentions
from testbed.errors import KubectlFailed
from trials import GATEWAY, Document, Trial, another_service

DEPLOYMENT, SECRET = "edge-admission", "edge-admission-tls"
CONFIGURATION = f"{NAMESPACE}-edge-admission"
TENANT = {
    "apiVersion": "edge-intelligence.io/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "admitted"},
    "spec": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        "priorityCeiling": 10,
    },
}


def manifest(priority: int = 0, pool: str = "factory") -> str:
    body = another_service("admitted")
    body["spec"] |= {"priority": priority, "devicePool": pool}
    return yaml.safe_dump(body)


def dry_run(trial: Trial, text: str) -> tuple[str, str]:
    """Has the API server review a manifest without storing it. Returns what it printed and the warnings."""
    command = trial.bed.client_command("kubectl", ["apply", "--dry-run=server", "-f", "-"])
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout, done.stderr


def webhook(trial: Trial) -> Document:
    found: Document = trial.get("validatingwebhookconfiguration", CONFIGURATION)["webhooks"][0]
    return found


def pods(trial: Trial) -> dict[str, int]:
    """The pods of the webhook with how often their containers were restarted."""
    label = f"app.kubernetes.io/name={DEPLOYMENT}"
    listed = trial.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-l", label, "-o", "json")
    return {
        each["metadata"]["name"]: sum(c["restartCount"] for c in each["status"]["containerStatuses"])
        for each in json.loads(listed)["items"]
    }


def answers(trial: Trial) -> bool:
    """Whether the webhook reviews: without it, a service on an unknown pool causes no warning."""
    return reasons.UNKNOWN_POOL in dry_run(trial, manifest(pool="nowhere"))[1]


@contextmanager
def tenant(trial: Trial) -> Iterator[None]:
    """The example's namespace with a ceiling, which the webhook knows."""
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(TENANT))
    try:
        trial.wait("the ceiling", lambda: "priorityCeiling" in dry_run(trial, manifest(11))[1])
        yield
    finally:
        installation.delete_tenant(trial.cluster.kubectl, "admitted")


def test_a_priority_above_the_ceiling_is_refused_with_field_value_and_fix(trial: Trial) -> None:
    with tenant(trial):
        with pytest.raises(KubectlFailed) as refusal:
            trial.cluster.kubectl("apply", "-f", "-", text=manifest(11))
        message = str(refusal.value)
        assert mentions("spec.priority", '"11"', "priorityCeiling 10", "Tenant admitted").search(message)
        assert reasons.PRIORITY_ABOVE_CEILING in message
        assert "created (server dry run)" in dry_run(trial, manifest(10))[0]


def test_an_unknown_pool_is_accepted_with_a_warning_that_names_the_similar_one(trial: Trial) -> None:
    trial.wait("a review", lambda: answers(trial))
    said, warned = dry_run(trial, manifest(pool="factroy"))
    assert "created (server dry run)" in said
    assert mentions("Warning", reasons.UNKNOWN_POOL, "spec.devicePool", '"factroy"', "factory").search(warned)


def test_without_admission_objects_are_accepted_and_requests_are_answered(trial: Trial) -> None:
    kubectl = trial.cluster.kubectl
    with tenant(trial), trial.load(GATEWAY) as load:
        replicas = trial.get("deployment", DEPLOYMENT, NAMESPACE)["spec"]["replicas"]
        try:
            kubectl("scale", f"deployment/{DEPLOYMENT}", "-n", NAMESPACE, "--replicas=0")
            trial.wait("the end of all pods", lambda: not pods(trial))
            kubectl("apply", "-f", "-", text=manifest(11))
            assert trial.get("inferenceservice", "admitted")["spec"]["priority"] == 11
            load.wait_for("a response", lambda answer: "error" not in answer)
        finally:
            kubectl("delete", "inferenceservice", "admitted", "--ignore-not-found", "--timeout=120s")
            kubectl("scale", f"deployment/{DEPLOYMENT}", "-n", NAMESPACE, f"--replicas={replicas}")
        trial.wait("a review", lambda: answers(trial))
    load.check_none_lost()


@pytest.mark.extended  # the kubelet updates a mounted Secret within two minutes
def test_a_new_certificate_is_trusted_and_served_without_a_restart(trial: Trial) -> None:
    trial.wait("a review", lambda: answers(trial))
    before, running = trial.get("secret", SECRET, NAMESPACE)["data"]["tls.crt"], pods(trial)
    trial.cluster.kubectl("delete", "secret", SECRET, "-n", NAMESPACE)
    trial.cluster.kubectl("rollout", "restart", "deployment/edge-operator", "-n", NAMESPACE)

    def renewed() -> bool:
        found = trial.cluster.kubectl(
            "get", "secret", SECRET, "-n", NAMESPACE, "--ignore-not-found", "-o", "json"
        )
        return bool(found.strip()) and json.loads(found)["data"]["tls.crt"] != before

    trial.wait("a new certificate", renewed)
    secret = trial.get("secret", SECRET, NAMESPACE)["data"]

    def served() -> bool:
        """Whether every pod has loaded the new certificate, which it verified."""
        logs = [trial.cluster.kubectl("logs", pod, "-n", NAMESPACE) for pod in running]
        return all("the new certificate is served" in log for log in logs)

    trial.wait("pods that serve it", served)
    assert webhook(trial)["clientConfig"]["caBundle"] == secret["ca.crt"]
    trial.wait("a review", lambda: answers(trial))
    assert pods(trial) == running
