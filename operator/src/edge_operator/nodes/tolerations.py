"""Which tolerations a runtime's pod has, and whether it is replaced for others. Pure.

Kubernetes replaces the pods of a Deployment whose template changes. So the tolerations that a pool's group
declares become those of a runtime only with a new pod, unless its node has, or can get, a taint by which the
running pod would end or could not be created again.
"""

from collections.abc import Iterable, Mapping, Sequence

from edge_operator.cluster import Object

Taint = Mapping[str, str]
"""A taint of a Node: key, value, effect."""
# An entry node that the control plane cannot reach keeps serving; its pod must not be evicted.
ALWAYS: tuple[Object, ...] = (
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
)
"""Tolerations of every runtime."""


def tolerates(toleration: Object, taint: Taint) -> bool:
    """Whether a pod with the toleration tolerates the taint, by the rules of Kubernetes."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    key = toleration.get("key") or ""
    if key not in ("", taint["key"]):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(key) and (toleration.get("value") or "") == (taint.get("value") or "")


def suffices(live: Sequence[Object], wanted: Iterable[Object], taints: Iterable[Taint]) -> bool:
    """Whether a pod with the tolerations `live` need not be replaced by one with those of `wanted`.

    It must have all that protect from an eviction, before a taint comes, and tolerate the taints of its node
    that keep pods away as far as `wanted` does. What is in `live` alone never ends a pod that serves.
    """
    needed = list(wanted)
    if any(each not in live for each in needed if each.get("effect") in (None, "", "NoExecute")):
        return False
    return all(
        any(tolerates(each, taint) for each in live)
        for taint in taints
        if taint["effect"] != "PreferNoSchedule" and any(tolerates(each, taint) for each in needed)
    )
