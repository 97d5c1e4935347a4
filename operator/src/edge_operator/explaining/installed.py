"""The settings of the operator that runs: of this process in its pod, else of its Deployment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge_operator.cluster import DEPLOYMENTS, Cluster, Object
from edge_operator.errors import ExplanationError
from edge_operator.settings import Settings

SELECTOR: Final = "app.kubernetes.io/name=edge-operator"
"""Labels that the chart gives to the operator's Deployment."""


@dataclass(frozen=True, slots=True)
class Installed:
    """settings: of the operator. scope: the only namespace that it watches; None: all."""

    settings: Settings
    scope: str | None = None


def installed(environment: Mapping[str, str], cluster: Cluster) -> Installed:
    """Returns the settings of the operator.

    Raises ExplanationError if it is not found, or there are several; SettingsError, ClusterError.
    """
    if environment.get("EDGE_STORE"):
        return _read(environment)
    found = cluster.find(DEPLOYMENTS, environment.get("EDGE_OPERATOR_NAMESPACE") or None, SELECTOR)
    if not found:
        raise ExplanationError(
            f"Deployment: none has the label {SELECTOR}: install the chart, or run this in the operator's pod"
        )
    if len(found) > 1:
        namespaces = ", ".join(sorted(each["metadata"]["namespace"] for each in found))
        raise ExplanationError(
            f"EDGE_OPERATOR_NAMESPACE: not set, but there are operators in {namespaces}: set it to one"
        )
    return _read(_environment_of(found[0]))


def _read(environment: Mapping[str, str]) -> Installed:
    return Installed(Settings.from_environment(environment), environment.get("EDGE_WATCH_NAMESPACE") or None)


def _environment_of(deployment: Object) -> Mapping[str, str]:
    """Returns the variables of the operator's container that are not from its pod's fields."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    operator = next((each for each in containers if each["name"] == "operator"), containers[0])
    found = {each["name"]: str(each["value"]) for each in operator.get("env") or () if "value" in each}
    return {**found, "EDGE_OPERATOR_NAMESPACE": deployment["metadata"]["namespace"]}
