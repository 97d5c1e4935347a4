"""The rights that `ei doctor` reviews are those that the chart grants to the operator."""

from typing import Any

from edge_cli.doctor.rights import required

SYSTEM = "edge-intelligence"
NOT_REVIEWED = {
    # Only limited by names, or only with some values of the chart.
    "bind clusterroles",
    "create jobs", "patch jobs", "delete jobs",
    "create secrets", "delete secrets", "get secrets", "patch secrets",
    "create configmaps", "delete configmaps", "get configmaps", "patch configmaps",
    "delete roles", "get roles", "list roles", "watch roles",
    "get customresourcedefinitions", "list customresourcedefinitions", "watch customresourcedefinitions",
    "get leases",
}  # fmt: skip


def granted(objects: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """Verb, group, resource and namespace of each right of the operator's account."""
    return {
        (verb, group, resource, SYSTEM if body["kind"] == "Role" else "")
        for body in objects
        if body["kind"] in ("ClusterRole", "Role") and "edge-operator" in body["metadata"]["name"]
        for rule in body["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_chart_grants_every_right_that_is_reviewed(render: Any) -> None:
    given = granted(render())
    assert [right for right in required(SYSTEM, None) if right[:4] not in given] == []


def test_every_right_that_the_chart_grants_by_default_is_reviewed(render: Any) -> None:
    reviewed = {right[:4] for right in required(SYSTEM, None)}
    missing = {f"{verb} {resource}" for verb, _, resource, _ in granted(render()) - reviewed}
    # Its Role for Jobs repeats what the ClusterRole grants for pods.
    assert missing - NOT_REVIEWED == {"get pods", "list pods", "watch pods"}


def test_an_operator_of_one_namespace_needs_its_rights_there_alone(render: Any) -> None:
    where = {right.namespace for right in required(SYSTEM, "shop") if right.resource == "placements"}
    assert where == {"shop"}
