"""What keeps a DevicePool or a Tenant that is being deleted, and what its condition and events say."""

from typing import Any

import pytest

from edge_api import reasons
from edge_operator.cluster import DEVICE_POOLS, TENANTS
from edge_operator.conditions import Finding
from edge_operator.names import IN_USE_FINALIZER, in_use_finalizer
from edge_operator.pool.protection import held_up, protection, users
from edge_operator.pool.tenancy import Tenancy
from messages import mentions
from operator_objects import pool_body

Body = dict[str, Any]
OTHERS = "example.com/audit"


def pool(*finalizers: str, ending: bool = False) -> Body:
    body = pool_body()
    body["metadata"] |= {"finalizers": list(finalizers)}
    body["metadata"] |= {"deletionTimestamp": "2026-03-01T12:00:00Z"} if ending else {}
    return body


def service(namespace: str, name: str, pool: str = "factory") -> Body:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"devicePool": pool}}


def test_a_new_object_gets_the_finalizer_beside_those_of_others() -> None:
    found = protection(pool(OTHERS), (), IN_USE_FINALIZER)
    assert found.write is not None
    assert (found.write.finalizers, found.finding) == ((OTHERS, IN_USE_FINALIZER), None)
    assert protection(pool(IN_USE_FINALIZER), ("default/a",), IN_USE_FINALIZER).write is None


def test_a_deletion_waits_for_services_and_names_them() -> None:
    found = protection(pool(IN_USE_FINALIZER, ending=True), ("default/a", "shop/b"), IN_USE_FINALIZER)
    assert found.write is None
    assert found.finding is not None
    given = found.finding
    assert (given.type, given.status, given.reason) == ("InUse", "True", reasons.USED_BY_SERVICES)
    assert mentions("2 InferenceServices", "default/a, shop/b", "spec.devicePool").search(given.message)


def test_the_condition_names_five_services_and_counts_the_others() -> None:
    names = tuple(f"shop/s{number}" for number in range(7))
    found = protection(pool(IN_USE_FINALIZER, ending=True), names, IN_USE_FINALIZER).finding
    assert found is not None
    assert mentions("7 InferenceServices", "shop/s4", "and 2 more").search(found.message)
    assert "shop/s5" not in found.message


@pytest.mark.parametrize(("using", "kind_ends"), [((), False), (("default/a",), True)])
def test_the_deletion_ends_with_the_last_service_or_when_the_kind_is_deleted(
    using: tuple[str, ...], *, kind_ends: bool
) -> None:
    body = pool(OTHERS, IN_USE_FINALIZER, ending=True)
    found = protection(body, using, IN_USE_FINALIZER, kind_ends=kind_ends)
    assert found.write is not None
    assert (found.write.finalizers, found.finding) == ((OTHERS,), None)


def test_an_object_whose_finalizer_was_removed_by_hand_is_left_alone() -> None:
    found = protection(pool(OTHERS, ending=True), ("default/a",), IN_USE_FINALIZER)
    assert (found.write, found.finding) == (None, None)


def test_operators_of_single_namespaces_have_finalizers_of_their_own() -> None:
    lab = in_use_finalizer("lab")
    found = protection(pool(in_use_finalizer("shop"), lab, ending=True), (), lab)
    assert found.write is not None
    assert found.write.finalizers == (in_use_finalizer("shop"),)
    assert in_use_finalizer(None) == IN_USE_FINALIZER


def test_the_users_of_a_pool_name_it_and_those_of_a_tenant_are_in_its_namespaces() -> None:
    services = [service("shop", "b"), service("lab", "a"), service("shop", "c", "other")]
    tenancy = Tenancy(owners={"shop": "retail"})
    assert users(DEVICE_POOLS, "factory", services, tenancy) == ("lab/a", "shop/b")
    assert users(TENANTS, "retail", services, tenancy) == ("shop/b", "shop/c")
    assert users(TENANTS, "default", services, tenancy) == ("lab/a",)
    assert users(TENANTS, "unknown", services, tenancy) == ()


def test_one_event_says_that_a_deletion_waits() -> None:
    finding = Finding("InUse", "True", reasons.USED_BY_SERVICES, "default/a")
    (event,) = held_up(pool(), {"conditions": [{"type": "Ready"}]}, finding)
    assert (event.type, event.reason, event.message) == ("Warning", reasons.USED_BY_SERVICES, "default/a")
    assert held_up(pool(), {"conditions": [{"type": "InUse"}]}, finding) == ()
    assert held_up(pool(), {}, None) == ()
