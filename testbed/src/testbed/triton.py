"""The testbed's second Triton server, which stands for one outside the cluster."""

from __future__ import annotations

import yaml

NAMESPACE, OUTSIDE = "triton", "triton-outside"
PORT = 8000
"""HTTP; the two ports after it are gRPC and metrics."""


def outside(manifests: str) -> str:
    """Returns the manifests of a second server like the one in the manifests, with the same key.

    It listens on the address of its node, not of a pod: the address stays when the server is restarted.
    """
    label = {"app.kubernetes.io/name": OUTSIDE}
    found = {body["kind"]: body for body in yaml.safe_load_all(manifests)}
    deployment, service = found["Deployment"], found["Service"]
    deployment["metadata"] |= {"name": OUTSIDE, "labels": label}
    deployment["spec"]["selector"] = {"matchLabels": label}
    template = deployment["spec"]["template"]
    template["metadata"] = {"labels": label}
    template["spec"] |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    service["metadata"]["name"] = OUTSIDE
    service["spec"]["selector"] = label
    return yaml.safe_dump_all([deployment, service])
