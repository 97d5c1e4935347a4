"""Checks of the cluster itself. Pure."""

from collections.abc import Iterator
from typing import Final

from edge_cli.doctor.findings import FIRST, Check, Found
from edge_cli.doctor.states import CLAIMS, STORAGE_CLASSES, ClusterState, Right

OLDEST: Final = (1, 29)
"""The oldest version of Kubernetes that the chart accepts; a test compares them."""
SKEW: Final = 5.0
"""Seconds by which a clock may differ. Nodes renew their Leases every 10 s, so a clock that is behind shows
only if it is behind by more than that."""
RENEWAL: Final = 10.0
_DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
INSTALLING: Final = (
    Right("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    Right("create", "rbac.authorization.k8s.io", "clusterroles"),
    Right("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    Right("create", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
    Right("create", "", "namespaces"),
    Right("create", "apps", "deployments"),
)
"""What installing the chart takes."""


def _unreachable(state: ClusterState) -> Iterator[Found]:
    if state.unreachable:
        yield Found(state.unreachable)


def _old(state: ClusterState) -> Iterator[Found]:
    if state.version is not None and state.version < OLDEST:
        yield Found(f"Kubernetes {state.version[0]}.{state.version[1]} is older than {OLDEST[0]}.{OLDEST[1]}")


def _skewed(state: ClusterState) -> Iterator[Found]:
    for name, ahead in sorted(state.clocks.items()):
        if ahead > SKEW:
            yield Found(f"{name}: its clock is {ahead:.0f} s ahead of the API server's")
        elif ahead < -(RENEWAL + SKEW):
            yield Found(f"{name}: its clock is {-ahead:.0f} s behind the API server's")


def _may_not_install(state: ClusterState) -> Iterator[Found]:
    for right, allowed in state.own_rights.items():
        if not allowed:
            yield Found(f"this account has no right to {right}")


def _no_default_class(state: ClusterState) -> Iterator[Found]:
    classes = state.of(STORAGE_CLASSES)
    if any((body["metadata"].get("annotations") or {}).get(_DEFAULT) == "true" for body in classes):
        return
    named = ", ".join(sorted(body["metadata"]["name"] for body in classes))
    yield Found(f"no StorageClass is the default one{f', there are {named}' if named else ''}")


CHECKS: Final = (
    Check(
        FIRST,
        "kubernetes",
        "error",
        "the API server responds",
        "Nothing can be read without it.",
        "Check the kubeconfig with `kubectl version`, and --context.",
        _unreachable,
        before=True,
    ),
    Check(
        "EI0102",
        "kubernetes",
        "error",
        f"Kubernetes is {OLDEST[0]}.{OLDEST[1]} or newer",
        "The chart uses fields that older API servers do not have.",
        "Upgrade the cluster.",
        _old,
        before=True,
    ),
    Check(
        "EI0103",
        "kubernetes",
        "warning",
        "the clocks of nodes and of this machine agree with the API server's",
        "Certificates seem not valid yet or expired, tokens are refused, and times in a status mislead.",
        "Run an NTP client such as chrony there.",
        _skewed,
        before=True,
    ),
    Check(
        "EI0104",
        "kubernetes",
        "error",
        "this account may install the chart",
        "`helm install` fails halfway.",
        "Use an account with the ClusterRole cluster-admin, or have an administrator install the chart.",
        _may_not_install,
        before=True,
        skip=lambda state: "" if state.own_rights else "the chart is installed, or rights cannot be reviewed",
    ),
    Check(
        "EI0105",
        "kubernetes",
        "warning",
        "there is a default StorageClass",
        "The volume of the model store stays Pending unless a class is named.",
        "Set store.persistence.storageClass of the chart, or mark a class as the default one.",
        _no_default_class,
        reads=(STORAGE_CLASSES, CLAIMS),
        before=True,
    ),
)
