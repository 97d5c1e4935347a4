"""Values that several parts of the chart have: images, resources, places of pods."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

PullPolicy = Literal["Always", "IfNotPresent", "Never"]
SecretName = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
"""Empty: none."""
GivenSecretName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
ClassName = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
NotEmpty = Annotated[str, Field(min_length=1)]
KubernetesObject = dict[str, Any]
"""A part of a Kubernetes object, which the API server checks."""


class Values(BaseModel):
    """Values under one key. Others are refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Resources(Values):
    """Resources of a container."""

    requests: KubernetesObject | None = Field(default=None, description="Minimum amounts, by resource.")
    limits: KubernetesObject | None = Field(default=None, description="Maximum amounts, by resource.")
    claims: list[KubernetesObject] | None = Field(
        default=None, description="Claims of dynamic resource allocation."
    )


class Image(Values):
    """An image by name and version."""

    registry: str = Field(
        default="", description="Host of its registry. Empty: none. global.imageRegistry replaces it."
    )
    repository: NotEmpty = Field(description="Name of the image, without a host.")
    tag: str = Field(default="", description="Version. Empty: the chart's appVersion.")
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = Field(
        default="", description="Digest, sha256:…, which pins the image's content. Empty: the tag alone."
    )
    pull_policy: PullPolicy = Field(default="IfNotPresent", description="When the kubelet pulls the image.")


TOLERATED_SERVERS: list[KubernetesObject] = [
    {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "CriticalAddonsOnly", "operator": "Exists"},
]
"""Taints of servers on which the operator and the model store can run: those of kubeadm and of K3s."""


class Placed(Values):
    """Where the pods of a part run."""

    node_selector: dict[str, str] = Field(default={}, description="Labels of the nodes that may run it.")
    affinity: KubernetesObject = Field(
        default={},
        description="Replaces the default, which prefers nodes with the label "
        "edge-intelligence.io/tier=cloud, then servers (node-role.kubernetes.io/control-plane), then nodes "
        "without a device class.",
    )
    tolerations: list[KubernetesObject] = Field(
        default=TOLERATED_SERVERS, description="Taints of nodes that may run it nevertheless."
    )
    priority_class_name: ClassName = Field(
        default="",
        description="PriorityClass of its pods. Empty: the one that priorityClasses.create makes, if any.",
    )
