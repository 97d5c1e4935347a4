"""Writes of the end-to-end tests to Placements, with tokens like those of runtimes."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from trials import Trial

# Not by kubectl, which reads the status before it patches it: runtimes cannot read it alone.
PATCH = """
import ssl, sys, urllib.error, urllib.request
url, authority, body, token = *sys.argv[1:], sys.stdin.read()
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
request = urllib.request.Request(url, body.encode(), headers, method="PATCH")
context = ssl.create_default_context(cafile=authority)
try:
    response = urllib.request.urlopen(request, context=context, timeout=30)
except urllib.error.HTTPError as error:
    response = error
print(response.status, response.read().decode())
"""
Write = Callable[..., tuple[int, str]]
"""Merges a change into the example's Placement of a node; returns the status and the text of the response."""


def runtime_pod(trial: Trial, node: str, account: str) -> str:
    """A pod at the node that serves with a ServiceAccount."""
    selected = ("-n", "default", f"--field-selector=spec.nodeName={node}", "-o", "json")
    pods: list[dict[str, Any]] = json.loads(trial.cluster.kubectl("get", "pods", *selected))["items"]
    return next(
        str(pod["metadata"]["name"])
        for pod in pods
        if pod["spec"]["serviceAccountName"] == account and "deletionTimestamp" not in pod["metadata"]
    )


def write_as(trial: Trial, own_node: str, account: str) -> Write:
    """Returns what writes with a token of an account that is bound to its pod at a node."""
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={runtime_pod(trial, own_node, account)}")
    token = trial.cluster.kubectl("create", "token", account, "-n", "default", *bound).strip()
    config = json.loads(trial.cluster.kubectl("config", "view", "--raw", "-o", "json"))
    server = config["clusters"][0]["cluster"]
    prefix = trial.bed.in_node("cloud")

    def patch(node: str, change: dict[str, Any], subresource: str = "/status") -> tuple[int, str]:
        name = trial.placements()[node]["metadata"]["name"]
        url = f"{server['server']}/apis/edge-intelligence.io/v1alpha1/namespaces/default/placements/{name}"
        given = (url + subresource, server["certificate-authority"], json.dumps(change))
        argv = [*prefix, sys.executable, "-c", PATCH, *given]
        done = subprocess.run(argv, input=token, capture_output=True, text=True, timeout=60, check=True)
        code, _, text = done.stdout.partition(" ")
        return int(code), text

    return patch
