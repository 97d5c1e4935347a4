"""Which tenant a namespace belongs to."""

from typing import Any

from edge_operator.pool.tenancy import NO_TENANTS, pool_tenants, resolved
from edge_planning.sharing import Amount, ResourceKind, Share, Tenant

CPU, UPLINK = ResourceKind.CPU, ResourceKind.UPLINK


def tenant(name: str, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Tenant",
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"namespaceSelector": {"matchLabels": {"team": name}}} | spec,
    }


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def test_a_namespace_belongs_to_the_tenant_that_selects_it() -> None:
    found = resolved([tenant("shop")], [namespace("shop-1", team="shop"), namespace("lab-1", team="lab")])
    assert found.of("shop-1") == "shop"
    assert found.namespaces("shop") == ("shop-1",)


def test_a_namespace_without_a_tenant_belongs_to_default() -> None:
    found = resolved([tenant("shop")], [namespace("lab-1", team="lab")])
    assert found.of("lab-1") == found.of("unknown") == "default"
    assert found.stop("lab-1") == "None"


def test_expressions_select_namespaces() -> None:
    by_name = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["lab-1", "lab-2"]}
    body = tenant("lab", namespaceSelector={"matchExpressions": [by_name]})
    labels = {"kubernetes.io/metadata.name": "lab-2"}
    assert resolved([body], [{"metadata": {"name": "lab-2", "labels": labels}}]).of("lab-2") == "lab"


def test_a_namespace_that_two_tenants_select_belongs_to_the_older_and_the_other_overlaps() -> None:
    everyone = {"matchExpressions": [{"key": "team", "operator": "Exists"}]}
    young = tenant("all", "2026-02-01T00:00:00Z", namespaceSelector=everyone)
    namespaces = [namespace("shop-1", team="shop"), namespace("lab-1", team="lab")]
    for order in ([young, tenant("shop")], [tenant("shop"), young]):
        found = resolved(order, namespaces)
        assert (found.of("shop-1"), found.of("lab-1")) == ("shop", "all")
        assert found.overlaps == {"all": (("shop-1", "shop"),)}


def test_of_two_tenants_of_the_same_second_the_first_by_name_is_the_older() -> None:
    both = {"matchLabels": {"team": "both"}}
    found = resolved(
        [tenant("b", namespaceSelector=both), tenant("a", namespaceSelector=both)],
        [namespace("one", team="both")],
    )
    assert found.of("one") == "a"


def test_a_tenant_that_cannot_be_read_has_no_namespace_and_says_why() -> None:
    found = resolved([tenant("shop", fairSharing={"weight": "two"})], [namespace("shop-1", team="shop")])
    assert found.of("shop-1") == "default"
    (problem,) = found.unreadable["shop"]
    assert problem.startswith("spec.fairSharing.weight")


def test_a_pool_is_shared_by_the_tenants_with_services_or_quotas_there() -> None:
    quotas = {
        "name": "factory",
        "nominalQuota": {"cpu": "30%", "uplink": "20M"},
        "borrowingLimit": {"cpu": "500m"},
        "lendingLimit": {"cpu": "0%"},
    }
    found = resolved(
        [
            tenant("shop", fairSharing={"weight": 2}, pools=[quotas], priorityCeiling=100),
            tenant("lab", pools=[{"name": "other"}]),
            tenant("bank"),
        ],
        [namespace("bank-1", team="bank")],
    )
    assert pool_tenants(found, "factory", ["bank-1", "free"]) == (
        Tenant("bank"),
        Tenant("default"),
        Tenant(
            "shop",
            2.0,
            nominal={CPU: Share(0.3), UPLINK: Amount(20e6)},
            borrowing_limit={CPU: Amount(0.5)},
            lending_limit={CPU: Share(0.0)},
            priority_ceiling=100,
        ),
    )


def test_a_tenant_called_default_has_the_quotas_of_the_namespaces_without_one() -> None:
    found = resolved([tenant("default", fairSharing={"weight": "500m"})], [namespace("lab-1")])
    assert pool_tenants(found, "factory", ["lab-1"]) == (Tenant("default", 0.5),)


def test_without_tenants_there_is_nothing_to_share_by() -> None:
    assert not NO_TENANTS
    assert pool_tenants(NO_TENANTS, "factory", ["default"]) == ()
