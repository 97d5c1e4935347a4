"""The values of the admission webhook."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge_chart.parts import Placed, Resources, SecretName


class Admission(Placed):
    """The admission webhook, which checks objects against each other. See docs/admission.md."""

    enabled: bool = Field(
        default=True,
        description="Install it. With tls.mode Secrets or Disabled, only with admission.tlsSecret.",
    )
    replicas: Annotated[int, Field(ge=0, le=5)] = Field(
        default=2, description="Number of its pods. Each reviews by itself."
    )
    failure_policy: Literal["Ignore", "Fail"] = Field(
        default="Ignore",
        description="""
What the API server does if no pod answers. Ignore: it accepts objects, and the conditions that the operator
writes say what is wrong. Fail: it refuses new specs of InferenceServices and Tenants, and deletions of
Tenants and DevicePools. What is served continues with both.""",
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=30)] = Field(
        default=5, description="Seconds that the API server waits for a verdict, from 1 to 30."
    )
    node_selector: dict[str, str] = Field(
        default={}, description="Labels of the nodes that may run it. Empty: those of the operator."
    )
    tls_secret: SecretName = Field(
        default="",
        description="Name of a Secret with tls.crt and tls.key in the release's namespace, as created by "
        "cert-manager, for the name edge-admission.<namespace>.svc. Requires webhookAnnotations or caBundle. "
        "Empty: the operator issues and renews the certificate, with tls.mode Auto.",
    )
    webhook_annotations: dict[str, str] = Field(
        default={},
        description="Annotations of the ValidatingWebhookConfiguration, e.g. "
        "{cert-manager.io/inject-ca-from: edge-intelligence/edge-admission}.",
    )
    ca_bundle: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=]*$")] = Field(
        default="",
        description="The authority that signed the certificate of tlsSecret, in PEM, as base64. Empty: the "
        "operator or cert-manager writes it.",
    )
    resources: Resources = Field(
        default=Resources(requests={"cpu": "10m", "memory": "96Mi"}, limits={"memory": "384Mi"}),
        description="Of its container.",
    )
