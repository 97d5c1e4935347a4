"""`ei status`, `routes`, `tenants`, `wait`, `top` and `explain --at`: what the cluster has."""

import json
from typing import Any

import pytest

from edge_api import reasons
from edge_cli.commands.top import counts, read, text
from edge_cli.commands.wait import awaited
from edge_cli.connections import Connection
from edge_cli.errors import CommandError, ExitStatus
from messages import mentions

World = Any
Ei = Any
WHERE = "InferenceService default/digits"


def test_status_lists_services_with_what_is_wrong(world: World, ei: Ei) -> None:
    body = {k: v for k, v in world.service().items() if k != "status"}
    world.cluster.put({**body, "metadata": {"name": "letters", "namespace": "shop"}})
    world.settle()
    (one,) = ei("status", "-o", "json").document
    assert (one["service"], one["ready"], one["reason"]) == (
        "digits",
        "True",
        world.condition("Ready")["reason"],
    )
    every = ei("status", "-A", "-o", "json").document
    assert [(each["namespace"], each["service"]) for each in every] == [
        ("default", "digits"),
        ("shop", "letters"),
    ]
    out = ei("status", "-A").out.splitlines()
    assert out[0].split() == [
        "NAMESPACE",
        "SERVICE",
        "READY",
        "ENTRIES",
        "SLO",
        "BUDGET",
        "P95",
        "EXIT",
        "CUT",
        "REASON",
    ]
    assert len(out) == 3


def test_status_names_the_first_step_that_is_not_done(world: World, ei: Ei) -> None:
    world.settle()
    world.change(devicePool="fabric")
    world.reconcile()
    (one,) = ei("status", "-o", "json").document
    assert one["reason"] == reasons.DEVICE_POOL_NOT_FOUND
    assert "fabric" in one["message"]


def test_status_shows_that_a_service_is_idle(world: World, ei: Ei) -> None:
    world.change(scaling={"idleAfter": "1m"})
    world.settle()
    (one,) = ei("status", "-o", "json").document
    assert (one["ready"], one["reason"]) == ("True", reasons.SERVING)
    world.runtimes_report(idle=True)
    world.reconcile()
    (one,) = ei("status", "-o", "json").document
    assert (one["ready"], one["reason"]) == ("True", reasons.SESSIONS_RELEASED)
    assert reasons.SESSIONS_RELEASED in ei("status").out


def test_status_of_one_service_has_its_conditions_and_entry_nodes(world: World, ei: Ei) -> None:
    world.settle()
    found = ei("status", "digits", "-o", "json").document
    assert {"Ready", "Planned", "Placed"} <= {each["type"] for each in found["conditions"]}
    assert [each["node"] for each in found["nodes"]] == ["cam-1", "cam-2", "gate"]
    out = ei("status", "digits").out
    assert all(name in out for name in ("cam-1", "Planned"))
    assert ei("status", "digit").status == ExitStatus.PROBLEM


def test_a_service_of_another_version_is_listed_as_unreadable(world: World, ei: Ei) -> None:
    body = world.service()
    world.cluster.put(body | {"spec": body["spec"] | {"mode": "Psychic"}})
    (one,) = ei("status", "-o", "json").document
    assert (one["ready"], one["reason"]) == ("Unknown", reasons.UNREADABLE)


def test_routes_are_the_published_ones_with_the_active_one_marked(world: World, ei: Ei) -> None:
    world.settle()
    world.runtimes_report(link={"state": "Up", "bandwidth": "3920000", "roundTrip": "2ms"})
    found = ei("routes", "digits", "--at", "cam-2", "-o", "json").document
    (table,) = found
    published = world.placements()["cam-2"]["spec"]["routes"]
    assert [route["name"] for route in table["routes"]] == [route["name"] for route in published]
    assert [route["active"] for route in table["routes"]].index(True) == 0
    assert table["link"]["bandwidth"] == "3.92M"
    assert "*" in ei("routes", "digits").out
    assert mentions("--at", "cam-9", "cam-1").search(ei("routes", "digits", "--at", "cam-9").err)


def test_a_service_without_tables_says_where_to_look(world: World, ei: Ei) -> None:
    done = ei("routes", "digits")
    assert done.status == ExitStatus.PROBLEM
    assert mentions(f"{WHERE}:", "ei status").search(done.err)


def test_explain_at_a_node_shows_this_node_alone(world: World, ei: Ei) -> None:
    world.settle()
    found = ei("explain", "digits", "--at", "gate", "-o", "json").document
    assert [entry["node"] for entry in found["entries"]] == ["gate"]
    done = ei("explain", "digits", "--at", "gat")
    assert done.status == ExitStatus.PROBLEM
    assert mentions("--at:", "gat", "gate").search(done.err)


def test_explain_shows_what_the_tenant_has_of_the_pool(world: World, ei: Ei) -> None:
    world.cluster.put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"a": "b"}}}
    )
    spec = {"namespaceSelector": {"matchLabels": {"a": "b"}}}
    tenant = {"apiVersion": "edge-intelligence.io/v1alpha1", "kind": "Tenant", "metadata": {"name": "lab"}}
    world.cluster.put({**tenant, "spec": spec})
    world.settle()
    found = ei("explain", "digits", "-o", "json").document["tenant"]
    assert (found["name"], found["pool"]["name"]) == ("lab", "factory")
    assert {"cpu", "uplink"} <= {each["kind"] for each in found["pool"]["resources"]}
    assert "Tenant lab in pool factory" in ei("explain", "digits").out


def test_tenants_are_listed_with_what_they_use(world: World, ei: Ei) -> None:
    assert ei("tenants", "-o", "json").document == []
    tenant = {"apiVersion": "edge-intelligence.io/v1alpha1", "kind": "Tenant", "metadata": {"name": "lab"}}
    use = {"kind": "cpu", "nominal": "2", "used": "1", "borrowed": "0", "lent": "0"}
    pool = {
        "name": "factory",
        "share": "50%",
        "resources": [use],
        "shortages": ["1 service refused: cpu of cam-1"],
    }
    status = {"namespaces": 1, "share": "50%", "refused": 1, "pools": [pool]}
    spec = {"namespaceSelector": {"matchLabels": {"a": "b"}}, "fairSharing": {"weight": "2"}}
    world.cluster.put({**tenant, "spec": spec, "status": status})
    (found,) = ei("tenants", "-o", "json").document
    assert (found["tenant"], found["weight"], found["share"], found["refused"]) == ("lab", "2", "50%", 1)
    out = ei("tenants").out
    assert "cpu of cam-1" in out
    assert "ENTITLED TO" in out


def body(generation: int, status: str, observed: int) -> dict[str, Any]:
    condition = {
        "type": "Ready", "status": status, "reason": "Because", "message": "why",
        "observedGeneration": observed,
    }  # fmt: skip
    return {"metadata": {"name": "digits", "generation": generation}, "status": {"conditions": [condition]}}


class Clock:
    """A clock that moves when its sleep is called."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_wait_ends_when_the_condition_is_of_the_present_spec() -> None:
    seen, clock = iter([None, body(2, "True", 1), body(2, "False", 2), body(2, "True", 2)]), Clock()
    said = awaited(lambda: next(seen), WHERE, "Ready", 60.0, clock, clock.sleep)
    assert mentions(f"{WHERE}:", "Ready", "True").search(said)
    assert clock.now == 3.0


def test_wait_for_a_status_other_than_true() -> None:
    clock = Clock()
    said = awaited(lambda: body(1, "False", 1), WHERE, "Ready=False", 60.0, clock, clock.sleep)
    assert "False" in said


def test_wait_gives_up_with_a_status_of_its_own_and_the_last_message() -> None:
    clock = Clock()
    with pytest.raises(CommandError, match=mentions("Because", "why", "5s")) as raised:
        awaited(lambda: body(1, "False", 1), WHERE, "Ready", 5.0, clock, clock.sleep)
    assert raised.value.status == ExitStatus.TIMED_OUT
    assert clock.now == 5.0


def test_wait_says_that_a_service_does_not_exist(ei: Ei) -> None:
    done = ei("wait", "digit", "--timeout", "1ms")
    assert done.status == ExitStatus.TIMED_OUT
    assert mentions("default/digit", "exist").search(done.err)


def test_wait_returns_at_once_for_a_service_that_is_ready(world: World, ei: Ei) -> None:
    world.settle()
    done = ei("wait", "digits", "--timeout", "1ms")
    assert (done.status, done.err) == (0, "")


def test_top_counts_requests_between_two_reads(world: World, ei: Ei) -> None:
    world.settle()
    here = Connection(world.cluster, "default")
    before = read(here, "default", None)
    world.requests_arrive(30, 27)
    after = read(here, None, "digits")
    row = next(line for line in text(after, counts(before), 10.0).splitlines() if "cam-1" in line)
    assert row.split()[:2] == ["default/digits", "cam-1"]
    assert "0.900" in row.split()
    assert row.split()[-2:] == ["3.0", "-"]
    assert "PER S" in ei("top", "--once").out


def test_top_prints_the_tables_once_as_json(world: World, ei: Ei) -> None:
    world.settle()
    world.requests_arrive(30, 27)
    found = json.loads(ei("top", "digits", "-o", "json").out)
    assert found == json.loads(ei("routes", "digits", "-o", "json").out)
    assert {(each["service"], each["requests"]) for each in found} >= {("digits", 30)}
