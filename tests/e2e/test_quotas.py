"""What a ResourceQuota refuses is reported with the fix, and made once the quota is lifted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from trials import Trial, another_service

COUNT = "count/placements.edge-intelligence.io"
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "tight", "namespace": "default"},
    "spec": {"hard": {COUNT: "0"}},
}
SERVICE = another_service("limited")


@contextmanager
def applied(trial: Trial, manifest: Mapping[str, Any], kind: str, name: str) -> Iterator[None]:
    trial.cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump(manifest))
    try:
        yield
    finally:
        trial.cluster.kubectl("delete", kind, name, "--wait", "--timeout=60s", "--ignore-not-found")


def counted(trial: Trial) -> bool:
    status = trial.get("resourcequota", "tight").get("status", {})
    return COUNT in status.get("used", {})


def test_placements_that_a_quota_refuses_are_reported_and_published_once_it_is_lifted(trial: Trial) -> None:
    with applied(trial, QUOTA, "resourcequota", "tight"):
        # The API server refuses every object until the quota is counted, with another message.
        trial.wait("the quota", lambda: counted(trial))
        with trial.load("edge-b", rate=2) as load, applied(trial, SERVICE, "inferenceservice", "limited"):
            trial.wait("the refusal", lambda: trial.condition("limited", "Placed").get("status") == "False")
            placed = trial.condition("limited", "Placed")
            assert placed["reason"] == "ObjectRefused"
            for words in ("Placement default/", "exceeded quota: tight", "raise the ResourceQuota"):
                assert words in placed["message"], placed["message"]
            assert trial.condition("digits", "Placed")["status"] == "True"
            trial.cluster.kubectl("delete", "resourcequota", "tight")
            trial.wait("the Placements", lambda: trial.condition("limited", "Placed").get("status") == "True")
            trial.wait("the service", lambda: trial.condition("limited", "Ready").get("status") == "True")
        load.check_none_lost()
