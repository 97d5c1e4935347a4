"""Runtimes and profiling Jobs show a token to a model store that requires one."""

import dataclasses

import pytest

from edge_operator.cluster import Object
from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import profile_job, runtime_deployment
from edge_operator.settings import Settings

SERVICE = {"metadata": {"name": "digits", "namespace": "shop", "uid": "u-1"}}
DIGEST = "sha256:" + "0" * 64
OPEN = Settings("http://store.test:8080", "edge-runtime:test")
GUARDED = dataclasses.replace(OPEN, store_token="/var/run/secrets/edge-model-store/token")


def runtime(settings: Settings) -> Object:
    deployment = runtime_deployment(Runtime("shop", "cam-1"), Host("cam-1", ready=True), settings, SURGE)
    pod: Object = deployment["spec"]["template"]["spec"]
    return pod


def job(settings: Settings) -> Object:
    made = profile_job("camera", "factory", DIGEST, "cam-1", "cam-1", settings, annotations={})
    pod: Object = made["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("pod", [runtime(GUARDED), job(GUARDED)], ids=["runtime", "job"])
def test_a_pod_reads_a_token_for_the_store_that_the_kubelet_renews(pod: Object) -> None:
    volume = next(v for v in pod["volumes"] if v["name"] == "store-token")
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert token == {"audience": "edge-model-store", "expirationSeconds": 3600, "path": "token"}
    container = pod["containers"][0]
    mount = next(m for m in container["volumeMounts"] if m["name"] == "store-token")
    arguments = container["args"]
    assert arguments[arguments.index("--store-token-file") + 1] == f"{mount['mountPath']}/token"


def test_a_job_has_the_account_of_profilers_but_no_token_for_the_api_server() -> None:
    pod = job(GUARDED)
    assert pod["serviceAccountName"] == "edge-profiler"
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("pod", [runtime(OPEN), job(OPEN)], ids=["runtime", "job"])
def test_without_tokens_none_is_mounted(pod: Object) -> None:
    assert "store-token" not in [volume["name"] for volume in pod["volumes"]]
    assert "--store-token-file" not in pod["containers"][0]["args"]
