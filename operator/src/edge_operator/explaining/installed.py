"""The settings of the operator that runs: of this process in its pod, else of its Deployment.

An account that cannot list Deployments gets the chart's defaults, and notes that say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from edge_operator.cluster import DEPLOYMENTS, Object
from edge_operator.errors import ExplanationError, PermissionDeniedError
from edge_operator.explaining.overlays import Reads
from edge_operator.settings import Settings

SELECTOR: Final = "app.kubernetes.io/name=edge-operator"
"""Labels that the chart gives to the operator's Deployment."""
_FOLDER: Final = "/tmp/edge-tls"  # noqa: S108 - of the operator's pod; nothing here reads it


@dataclass(frozen=True, slots=True)
class Installed:
    """The operator that runs.

    Attributes:
        settings: Its settings.
        scope: The only namespace that it watches; None: all.
        notes: What is assumed of it.
    """

    settings: Settings
    scope: str | None = None
    notes: tuple[str, ...] = ()


def installed(environment: Mapping[str, str], cluster: Reads) -> Installed:
    """Returns the settings of the operator.

    Raises ExplanationError if it is not found, or there are several; SettingsError, ClusterError.
    """
    if environment.get("EDGE_STORE"):
        return _read(environment)
    namespace = environment.get("EDGE_OPERATOR_NAMESPACE") or None
    try:
        found = cluster.find(DEPLOYMENTS, namespace, SELECTOR)
    except PermissionDeniedError:
        return _assumed(namespace)
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


def _assumed(namespace: str | None) -> Installed:
    """Returns the chart's defaults. namespace: of the operator, if it is known."""
    where = "all namespaces" if namespace is None else f"namespace {namespace}"
    fix = (
        "set EDGE_OPERATOR_NAMESPACE if it may list those of the operator's namespace"
        if namespace is None
        else "ask for the permission"
    )
    note = f"the chart's default settings: this account cannot list the Deployments of {where}: {fix}"
    defaults = Settings(store_url="", runtime_image="", issues_certificates=True, tls_dir=_FOLDER)
    return Installed(defaults if namespace is None else replace(defaults, namespace=namespace), notes=(note,))


def _read(environment: Mapping[str, str]) -> Installed:
    return Installed(Settings.from_environment(environment), environment.get("EDGE_WATCH_NAMESPACE") or None)


def _environment_of(deployment: Object) -> Mapping[str, str]:
    """Returns the variables of the operator's container that are not from its pod's fields."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    operator = next((each for each in containers if each["name"] == "operator"), containers[0])
    found = {each["name"]: str(each["value"]) for each in operator.get("env") or () if "value" in each}
    return {**found, "EDGE_OPERATOR_NAMESPACE": deployment["metadata"]["namespace"]}
