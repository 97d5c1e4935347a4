"""ServiceAccounts of runtimes, and what these may do with Placements. Pure.

Where an admission policy compares nodes, the runtimes of a namespace share an account. Elsewhere each has
its own, with a Role that names the Placements at its node. An account outlives a change from one to the
other, and its runtime, for as long as pods use it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from edge_operator.cluster import ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, Kind, Object
from edge_operator.names import FETCHER, GROUP, MANAGED_BY, ROLE_LABEL, RUNTIME_LABEL
from edge_operator.nodes.runtimes import Runtime, is_earlier
from edge_operator.nodes.workloads import SHARED_ACCOUNT, account_name, runtime_metadata
from edge_operator.settings import Settings

ACCESS: tuple[Kind, ...] = (ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS)
"""Kinds of the objects by which runtimes read Placements and report on them, in the order of deletion."""
_RBAC = "rbac.authorization.k8s.io"
_ENDED = ("Succeeded", "Failed")

Key = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Access:
    """What the runtimes of a namespace need.

    shared: the objects of the account that they share; empty if none needs it. own: those of each runtime
    with its own account. left: accounts that pods of another version use, or of a runtime that ends.
    """

    shared: tuple[Object, ...]
    own: Mapping[Runtime, tuple[Object, ...]]
    left: frozenset[str]

    def surplus(self, objects: Mapping[Key, Object]) -> list[Key]:
        """Returns which objects of the namespace to delete, without those of earlier versions."""
        wanted = {key_of(body) for body in (*self.shared, *(b for own in self.own.values() for b in own))}
        return [
            (kind, name)
            for (kind, name), body in objects.items()
            if kind in ACCESS
            and (kind, name) not in wanted
            and (body["metadata"].get("labels") or {}).get(ROLE_LABEL) != FETCHER
            and not is_earlier(body)
            and (body["metadata"].get("labels") or {}).get(RUNTIME_LABEL) not in self.left
        ]


def key_of(body: Object) -> Key:
    """Returns the kind and the name of an object of an account."""
    return next(kind for kind in ACCESS if kind.kind == body["kind"]), body["metadata"]["name"]


def wanted_access(
    namespace: str,
    runtimes: Collection[Runtime],
    placements: Iterable[Object],
    used: frozenset[str],
    settings: Settings,
) -> Access:
    """Returns the accounts of a namespace's runtimes with their rights.

    used: by `accounts_in_use`.
    """
    own = {}
    if settings.own_accounts:
        by_node: dict[str, list[str]] = {}
        for placement in placements:
            by_node.setdefault(placement["spec"]["node"], []).append(placement["metadata"]["name"])
        own = {
            runtime: tuple(own_access(runtime, by_node.get(runtime.node, ()))) for runtime in sorted(runtimes)
        }
    sharing = bool(runtimes) and not settings.own_accounts
    shared = (
        tuple(shared_access(namespace, settings.runtime_role)) if sharing or SHARED_ACCOUNT in used else ()
    )
    current = {runtime.name for runtime in own} | ({SHARED_ACCOUNT} if sharing else set())
    return Access(shared, own, used - current)


def accounts_in_use(deployments: Iterable[Object], pods: Iterable[Object]) -> frozenset[str]:
    """Returns the accounts of pods, also of those that are ending, and of pods that Deployments start."""
    specs = [body["spec"].get("template", {}).get("spec", {}) for body in deployments]
    specs += [pod.get("spec", {}) for pod in pods if (pod.get("status") or {}).get("phase") not in _ENDED]
    return frozenset(name for spec in specs if (name := spec.get("serviceAccountName")))


def has_access(runtime: Runtime, objects: Mapping[Key, Object], settings: Settings) -> bool:
    """Whether the account of the pods that a runtime starts next exists with a role, among these objects."""
    name = account_name(runtime, settings)
    role = name if settings.own_accounts else settings.runtime_role
    needed = [(SERVICE_ACCOUNTS, name), (ROLE_BINDINGS, role)]
    return all(key in objects for key in needed + ([(ROLES, name)] if settings.own_accounts else []))


def shared_access(namespace: str, role: str) -> list[Object]:
    """Returns the ServiceAccount that a namespace's runtimes share, and the RoleBinding to their ClusterRole.

    The binding has the role's name, since a binding's role cannot change.
    """
    labels = {ROLE_LABEL: "runtime", **MANAGED_BY}
    account = {"name": SHARED_ACCOUNT, "namespace": namespace, "labels": labels}
    binding = {"name": role, "namespace": namespace, "labels": labels}
    return [_account(account), _binding(binding, "ClusterRole", SHARED_ACCOUNT)]


def own_access(runtime: Runtime, placements: Collection[str]) -> list[Object]:
    """Returns the ServiceAccount, the Role and the RoleBinding of one runtime, which have its name.

    placements: the names of those at its node, on which alone it may report. It may read all of its
    namespace, by which it finds the runtimes of other nodes.
    """
    meta = runtime_metadata(runtime)
    rules = [{"apiGroups": [GROUP], "resources": ["placements"], "verbs": ["get", "list", "watch"]}]
    if placements:  # a rule with no names is one for all
        report = {"apiGroups": [GROUP], "resources": ["placements/status"], "verbs": ["patch"]}
        rules.append(report | {"resourceNames": sorted(placements)})
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules}
    return [_account(meta), role, _binding(meta, "Role", runtime.name)]


def _account(meta: Object) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def _binding(meta: Object, kind: str, account: str) -> Object:
    """Returns the binding of an account to the role that has the binding's name."""
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": meta["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": meta["namespace"]}],
    }
