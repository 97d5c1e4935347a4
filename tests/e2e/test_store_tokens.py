"""A store that begins to require tokens: its services are registered again and keep serving."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from demo import installation
from demo.installation import NAMESPACE, STORE_AUDIENCE
from trials import Trial

ROLLED_OUT = 300.0
AUDIENCE = ("--audience", STORE_AUDIENCE)
STATUS = """
import sys, urllib.error, urllib.request
token = sys.stdin.read().strip()
request = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Bearer {token}"} if token else {})
try:
    print(urllib.request.urlopen(request, timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def runtimes(trial: Trial) -> list[dict[str, Any]]:
    """The pods of runtimes that are not being deleted."""
    selected = ("-n", "default", "-l", "app.kubernetes.io/managed-by=edge-intelligence", "-o", "json")
    pods = json.loads(trial.cluster.kubectl("get", "pods", *selected))["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def rolled_out(trial: Trial, *, tokens: bool) -> bool:
    """Whether there are runtimes, and all are Ready and mount a token or not."""

    def right(pod: dict[str, Any]) -> bool:
        conditions = pod.get("status", {}).get("conditions", [])
        is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        return is_ready and tokens == any(v["name"] == "store-token" for v in pod["spec"]["volumes"])

    found = runtimes(trial)
    return bool(found) and all(right(pod) for pod in found)


def switch(trial: Trial, *, tokens: bool) -> None:
    installation.install(trial.cluster, trial.root, f"store.tokens={str(tokens).lower()}")
    installation.upload(trial.cluster, trial.trained.onnx)  # the store's emptyDir was left behind
    trial.wait(f"runtimes for store.tokens={tokens}", lambda: rolled_out(trial, tokens=tokens), ROLLED_OUT)
    trial.wait("Ready", lambda: trial.condition("digits", "Ready").get("status") == "True", ROLLED_OUT)


@pytest.fixture
def guarded(trial: Trial) -> Iterator[Trial]:
    """The store requires tokens. The entry nodes serve while it begins to."""
    try:
        with trial.load("edge-b", rate=2) as load:
            switch(trial, tokens=True)
        load.check_none_lost()
        yield trial
    finally:
        switch(trial, tokens=False)


def token(trial: Trial, namespace: str, account: str, *flags: str) -> str:
    return trial.cluster.kubectl("create", "token", account, "-n", namespace, *flags).strip()


def status(trial: Trial, path: str, shown: str = "") -> int:
    """Status of a GET at the model store with a token."""
    store = trial.cluster.reach(NAMESPACE, "model-store")
    argv = [*store.prefix, sys.executable, "-c", STATUS, f"http://{store.host}:{store.http}{path}"]
    return int(subprocess.run(argv, input=shown, capture_output=True, text=True, check=True).stdout)


def test_a_slice_is_read_with_a_token_of_a_namespace_that_registered_its_model(guarded: Trial) -> None:
    placement = next(iter(guarded.placements().values()))
    blob = f"/v1/blobs/{placement['spec']['routes'][0]['stages'][0]['slice']['digest']}"
    account = runtimes(guarded)[0]["spec"]["serviceAccountName"]
    assert status(guarded, blob, token(guarded, "default", account, *AUDIENCE)) == 200
    assert status(guarded, blob) == 401
    assert status(guarded, blob, token(guarded, "default", account)) == 401  # for the API server
    assert status(guarded, blob, token(guarded, "kube-public", "default", *AUDIENCE)) == 404
    assert status(guarded, "/v1/health/ready") == 200
