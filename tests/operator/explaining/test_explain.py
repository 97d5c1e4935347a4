"""Explanations: the operator's own plan and rejected candidates, from the API server's objects."""

from typing import Any

import pytest

from edge_api import reasons
from edge_api.quantities import parse_duration
from edge_operator.cluster import MODEL_PROFILES
from edge_operator.errors import ExplanationError, PermissionDeniedError
from edge_operator.explaining.replanning import READ
from edge_operator.explaining.text import SHOWN, explanation_text
from edge_operator.explaining.values import EntryExplanation, Lost
from edge_operator.keys import ServiceKey
from messages import mentions

World = Any  # tests/operator/conftest.py


def explained(world: World) -> Any:
    return world.explained()


def test_the_routes_are_those_that_the_operator_published(world: World) -> None:
    world.settle()
    for entry in explained(world).entries:
        published = world.placements()[entry.node]["spec"]["routes"]
        assert [(r.name, str(r.min_bandwidth)) for r in entry.routes] == [
            (r["name"], r["minBandwidth"]) for r in published
        ]
        assert [str(r.predicted_latency) for r in entry.routes] == [r["predictedLatency"] for r in published]
        assert (entry.feasible, entry.meets_slo) == (True, True)


def test_the_routes_are_those_published_where_codecs_were_measured_too(world: World) -> None:
    from edge_operator.store_answers import CodecAccuracies

    card = world.store.card
    measured = [
        {
            "exit": e.name,
            "cut": [c.tensor],
            "codec": name,
            "bytes": int(c.bytes * ratio),
            "accuracy": e.accuracy,
        }
        for e in card.exits
        for c in e.cuts
        for name, ratio in (("fp32", 1.0), ("int8", 0.25))
    ]
    world.store.accuracies = CodecAccuracies.model_validate(
        {"complete": True, "samples": 500, "measured": measured}
    )
    world.change(
        model={
            "storageUri": "store://digits/digits.onnx",
            "validation": {"storageUri": "store://digits/heldout.npz"},
        }
    )
    world.settle()
    found = explained(world)
    assert found.notes == ()
    names = {entry.node: [route.name for route in entry.routes] for entry in found.entries}
    assert names == {
        node: [route["name"] for route in body["spec"]["routes"]] for node, body in world.placements().items()
    }
    assert any(":int8" in name for routes in names.values() for name in routes)


def test_what_lost_is_named_with_what_beat_it(world: World) -> None:
    world.settle()
    entry = explained(world).entries[0]
    routes = {route.name for route in entry.routes}
    lost = {each.name: each.reason for each in entry.rejected}
    assert lost
    assert not routes & set(lost)
    assert "122ms" in lost["final@local"]  # 120 ms and the overhead of a request; the SLO is 90 ms
    assert {each.name for each in entry.weighed} == routes | set(lost)
    assert [each.name for each in entry.weighed if each.reason is None] == [entry.routes[0].name]


def test_for_an_infeasible_slo_the_nearest_feasible_one_is_printed_and_the_condition_agrees(
    world: World,
) -> None:
    world.change(slo={"latency": "3ms", "minAccuracy": 0.9})
    world.reconcile()
    found = explained(world)
    assert [entry.feasible for entry in found.entries] == [False] * 3
    nearest = max(entry.nearest_feasible_latency for entry in found.entries)
    condition = next(c for c in found.conditions if c.type == reasons.PLANNED)
    assert condition.reason == reasons.INFEASIBLE
    assert condition.meaning == reasons.REASONS[reasons.INFEASIBLE].meaning
    said = condition.message.rpartition(" is ")[2]
    assert parse_duration(said) == pytest.approx(nearest)
    world.change(slo={"latency": said, "minAccuracy": 0.9})
    assert all(entry.feasible for entry in explained(world).entries)


def test_the_bandwidth_and_the_active_route_of_an_entry_node_are_shown(world: World) -> None:
    world.settle()
    world.runtimes_report(link={"state": "Up", "bandwidth": "3920000", "roundTrip": "2ms"})
    entry = explained(world).entries[0]
    assert (entry.bandwidth, entry.measured) == (3_920_000, True)
    assert entry.active_route == entry.routes[0].name


def test_it_only_reads(world: World) -> None:
    world.settle()
    before, log = dict(world.cluster.objects), list(world.log)
    explained(world)
    assert (world.cluster.objects, world.log) == (before, log)


def test_a_service_that_does_not_exist_is_answered_with_those_that_do(world: World) -> None:
    with pytest.raises(ExplanationError, match=r"InferenceService default/digit: .*digits"):
        world.explained(ServiceKey("default", "digit"))
    with pytest.raises(ExplanationError, match="InferenceService other/digits"):
        world.explained(ServiceKey("other", "digits"))


def test_for_a_service_that_is_not_profiled_yet_the_condition_is_printed(world: World) -> None:
    with pytest.raises(ExplanationError, match=mentions("default/digits", "profiled")):
        explained(world)
    world.store.profiles.clear()
    world.reconcile()
    with pytest.raises(ExplanationError, match=f"Profiled is Unknown, {reasons.PROFILING}: .*camera"):
        explained(world)


def test_a_device_class_that_is_not_profiled_yet_is_named(world: World) -> None:
    del world.store.profiles["gateway"]
    world.reconcile()
    with pytest.raises(ExplanationError, match=f"device class gateway .*{reasons.PROFILING}"):
        explained(world)


def test_measurements_of_other_nodes_are_not_explained_as_those_of_the_pool(world: World) -> None:
    world.settle()
    profile = world.cluster.get(MODEL_PROFILES, "default", "digits")
    for measured in profile["spec"]["deviceClasses"]:
        measured["selection"] = "another-pool"
    world.cluster.put(profile)
    with pytest.raises(ExplanationError, match=mentions("default/digits", "measurements", "cannot be used")):
        explained(world)


def test_a_pool_that_does_not_exist_is_answered_as_the_condition_does(world: World) -> None:
    world.settle()
    world.change(devicePool="fabric")
    world.reconcile()
    with pytest.raises(ExplanationError) as raised:
        explained(world)
    assert str(raised.value).endswith(world.condition("Planned")["message"])


def test_a_profile_that_lacks_a_segment_is_a_bad_profile_here_too(world: World) -> None:
    world.settle()
    profile = world.cluster.get(MODEL_PROFILES, "default", "digits")
    del profile["spec"]["deviceClasses"][0]["segments"][0]
    world.cluster.put(profile)
    with pytest.raises(ExplanationError, match=r"default/digits: .*delete ModelProfile digits"):
        explained(world)


def allow(world: World, monkeypatch: pytest.MonkeyPatch, *allowed: tuple[str, str | None]) -> None:
    """The account can list only these kinds, in a namespace or, with None, in every one."""
    find = world.cluster.find

    def permitted(kind: Any, namespace: str | None = None, labels: str = "") -> list[Any]:
        if not {(kind.plural, namespace), (kind.plural, None)} & set(allowed):
            said = f'{kind.plural} is forbidden: User "dev" cannot list resource "{kind.plural}"'
            raise PermissionDeniedError(f"listing {kind.plural} failed: {said}")
        found: list[Any] = find(kind, namespace, labels)
        return found

    monkeypatch.setattr(world.cluster, "find", permitted)


OWN = {(kind.plural, "default") for kind in READ if kind.namespaced}
OF_CLUSTER = {(kind.plural, None) for kind in READ if not kind.namespaced}


def test_with_the_rights_of_a_namespace_it_plans_what_it_sees_and_says_what_it_does_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = world.service()
    world.cluster.put({**body, "metadata": {"name": "others", "namespace": "elsewhere"}, "status": {}})
    world.settle()
    assert explained(world).notes == ()
    allow(world, monkeypatch, *OWN, *OF_CLUSTER)
    found = explained(world)
    assert [entry.node for entry in found.entries] == ["cam-1", "cam-2", "gate"]
    (note,) = found.notes
    assert mentions(
        "inferenceservices", "placements", "modelprofiles", "default", "edge-intelligence-edge-view"
    ).search(note)


@pytest.mark.parametrize(
    ("missing", "role", "binding"),
    [
        (("nodes", None), "edge-intelligence-edge-pools", "ClusterRoleBinding"),
        (("devicepools", None), "edge-intelligence-edge-pools", "ClusterRoleBinding"),
        (("tenants", None), "edge-intelligence-edge-pools", "ClusterRoleBinding"),
        (("namespaces", None), "edge-intelligence-edge-pools", "ClusterRoleBinding"),
        (("placements", "default"), "edge-intelligence-edge-view", "RoleBinding"),
    ],
)
def test_a_permission_that_it_cannot_do_without_is_named_with_its_role(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    missing: tuple[str, str | None],
    role: str,
    binding: str,
) -> None:
    world.settle()
    allow(world, monkeypatch, *(OWN | OF_CLUSTER) - {missing})
    with pytest.raises(ExplanationError, match=mentions(missing[0], role, binding)):
        explained(world)


def test_text_lists_the_most_useful_of_many_rejections_and_counts_the_rest(world: World) -> None:
    world.settle()
    found = explained(world)
    many = tuple(Lost(name=f"c{n}", accuracy=n / 100, reason="why") for n in range(50))
    entry: EntryExplanation = found.entries[0].model_copy(update={"rejected": many})
    text = explanation_text(found.model_copy(update={"entries": (entry,)}))
    assert sum(line.startswith("    c") for line in text.splitlines()) == SHOWN
    assert "c49" in text
    assert f"{50 - SHOWN} more" in text
