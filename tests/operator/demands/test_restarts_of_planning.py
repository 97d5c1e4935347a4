"""An operator that restarts, with nothing changed, plans what it had published."""

import random
from dataclasses import replace
from typing import Any

import pytest

from edge_api import ModelProfile, Placement
from edge_api.model_sources import ModelSource
from edge_api.objects import written
from edge_operator.explaining.entries import EntryExplainer
from edge_operator.names import DEMAND_ANNOTATION, UNFIT_ANNOTATION
from edge_operator.pool import manifests, rates, recorded
from edge_operator.pool.cpu_weights import published_weights, read_weights
from edge_operator.pool.demands import NO_PLAN, PooledPlan, plan_services
from edge_operator.pool.pooled import EntryKey, Pool, PooledService
from edge_operator.pool.published_tables import published_routes
from edge_operator.pool.slo import Counters
from edge_operator.store_answers import CodecAccuracies, CodecAccuracy
from edge_planning import Plan
from edge_planning.pools import Observed
from operator_objects import CARD
from pooled import PROFILES, members, pool, pool_spec, published, service

RUNTIME = 192.0 * (1 << 20)


class Operator:
    """Publishes plans of a pool, and restarts."""

    def __init__(self, tier: str, cameras: int, memory: float) -> None:
        self.spec = pool_spec(tier=tier)
        self.nodes = members(cameras, 1, tier=tier, memory=memory)
        self.services: dict[str, dict[str, Any]] = {}
        self.observed: dict[str, Observed] = {}
        """What was measured of services, at each of their entry nodes."""
        self.placements: dict[EntryKey, Placement] = {}
        self.plan: PooledPlan = NO_PLAN

    def pooled(self) -> Pool:
        found = []
        for name, fields in sorted(self.services.items()):
            one = service(name, self.nodes, **fields)
            here = {
                k.node: each for k, each in self.placements.items() if (k.namespace, k.service) == one.key
            }
            seen = dict.fromkeys(here, self.observed.get(name))
            if self.plan is NO_PLAN:
                seen = {node: rates.published(each) for node, each in here.items()}
            counted = rates.Measured("uid", 0.0, Counters(400, 400))
            found.append(
                replace(
                    one,
                    placements=here,
                    measured=dict.fromkeys(here, counted),
                    observed={node: each for node, each in seen.items() if each is not None},
                )
            )
        made = pool(self.nodes, *found, spec=self.spec, runtime_memory=RUNTIME)
        return replace(
            made, published=published_weights(read_weights(map(written, self.placements.values())).values())
        )

    def step(self) -> int:
        """Plans and publishes; returns the number of Placements that it writes."""
        pooled = self.pooled()
        self.plan = plan_services(pooled, self.plan)
        wanted = {}
        for one in pooled.services:
            for entry in self.plan.of(one.key):
                key = EntryKey(*one.key, entry.member.node.name)
                if isinstance(entry.plan, Plan):
                    wanted[key] = published(one, entry, self.spec)
                elif entry.plan is None and key in self.placements:
                    wanted[key] = noted(self.placements[key], entry.notes)
        changed = {key for key, each in wanted.items() if self.placements.get(key) != each}
        self.placements = wanted
        return len(changed)

    def restart(self) -> None:
        self.plan = NO_PLAN


def noted(placement: Placement, notes: Any) -> Placement:
    metadata = placement.metadata.model_copy(update={"annotations": dict(notes)})
    return placement.model_copy(update={"metadata": metadata})


def changed_by_chance(seed: int, *, declared: bool, measured: bool = False) -> Operator:
    """An operator after some services came and went."""
    chance = random.Random(seed)
    mi = 1 << 20
    operator = Operator(
        chance.choice(["Edge", "Device"]), chance.choice([1, 3]), chance.choice([600, 1200]) * float(mi)
    )
    for _ in range(8):
        if operator.services and chance.random() < 0.25:
            del operator.services[chance.choice(sorted(operator.services))]
        else:
            fields: dict[str, Any] = {
                "namespace": chance.choice("abc"),
                "bandwidth": chance.choice([2e6, 2e7]),
                "priority": chance.choice([0, 0, 5]),
                "slo": {"latency": chance.choice(["90ms", "200ms"])},
            }
            load = {"load": {"rate": chance.choice([0.5, 2.0, 6.0])}} if declared else {}
            name = f"s{chance.randrange(30)}"
            operator.services[name] = fields | load
            if measured:
                operator.observed[name] = Observed(chance.choice([0.5, 4.0, 8.0]), chance.random() < 0.5)
        operator.step()
    return operator


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_a_restart_with_nothing_changed_writes_nothing(seed: int, *, declared: bool) -> None:
    operator = changed_by_chance(seed, declared=declared)
    assert operator.step() == 0
    operator.restart()
    assert operator.step() == 0
    entries = operator.plan.entries.values()
    assert all(each.adopted for each in entries if isinstance(each.plan, Plan) and not each.intermediate)
    assert operator.step() == 0


@pytest.mark.parametrize("seed", range(12))
def test_a_restart_writes_nothing_although_only_rates_that_explain_a_shortage_are_kept(seed: int) -> None:
    operator = changed_by_chance(seed, declared=False, measured=True)
    operator.step()  # with what is measured of the last service, now that it is published
    assert operator.step() == 0
    operator.restart()
    assert operator.step() == 0
    operator.observed = {
        key.service: kept
        for key, each in operator.placements.items()
        if (kept := rates.published(each)) is not None
    }
    assert operator.step() == 0


def test_a_rate_is_kept_where_it_explains_a_shortage() -> None:
    """Otherwise the test above shows nothing."""
    operators = [changed_by_chance(seed, declared=False, measured=True) for seed in range(12)]
    assert any(rates.published(each) for one in operators for each in one.placements.values())


Uses = dict[tuple[EntryKey, str, str], tuple[float, float]]


def explained_uses(operator: Operator) -> Uses:
    """What `ei explain` says that each entry and all of them use, by resource and place."""
    explainer, found = EntryExplainer(operator.plan), Uses()
    for one in operator.pooled().services:
        for entry in operator.plan.of(one.key):
            if isinstance(entry.plan, Plan) and not entry.intermediate:
                key = EntryKey(*one.key, entry.member.node.name)
                for use in explainer.explain(one, entry).uses:
                    found[key, use.resource, use.place] = (use.own, use.total)
    return found


def unlike(before: Uses, after: Uses) -> bool:
    return before.keys() != after.keys() or any(
        after[key] != pytest.approx(each, rel=1e-3) for key, each in before.items()
    )


@pytest.mark.parametrize("seed", [7, 9])
def test_the_uses_after_a_restart_are_those_of_the_tables_that_stand(seed: int) -> None:
    operator = changed_by_chance(seed, declared=True)
    operator.step()
    before = explained_uses(operator)
    operator.restart()
    operator.step()
    assert not unlike(before, explained_uses(operator))
    operator.plan = replace(operator.plan, adopted={})
    assert unlike(before, explained_uses(operator)), "a first plan uses something else"


def test_what_the_model_profile_keeps_is_planned_as_what_the_store_said() -> None:
    """Metadata without the tensors of cuts of one tensor, and accuracies with more digits and samples."""
    exact = [each.model_copy(update={"accuracy": (each.accuracy or 0.0) - 1e-9}) for each in CARD.exits]
    told = CARD.model_copy(update={"size": 412_345, "exits": tuple(exact)})
    measured = [
        CodecAccuracy(exit="final", cut=("pool1",), codec=codec, bytes=size, accuracy=accuracy)
        for codec, size, accuracy in (("fp32", 4096, 0.9812345678), ("int8", 1024, 0.9712345678))
    ]
    accuracies = CodecAccuracies(complete=True, samples=900, measured=tuple(measured))
    spec = manifests.as_written(manifests.model_profile("digits", told, PROFILES.values(), accuracies))
    source = ModelSource(storage_uri="store://digits.onnx")
    notes = recorded.annotations(source, frozenset(), None, spec)
    profile = ModelProfile.model_validate(
        {"metadata": {"name": "digits", "annotations": notes}, "spec": spec}
    )
    kept = recorded.card_of(profile, source)
    assert kept is not None
    nodes = members(1, 0)
    before = service("digits", nodes, card=told, accuracies=accuracies)
    before = replace(before, profiles=manifests.device_profiles(spec))
    after = service("digits", nodes, card=kept, accuracies=manifests.codec_accuracies(profile.spec))
    after = replace(after, profiles=manifests.device_profiles(profile.spec))
    first, second = (
        plan_services(pool(nodes, one)).of(one.key)[0].notes[DEMAND_ANNOTATION] for one in (before, after)
    )
    assert first == second


def test_services_that_can_be_planned_later_than_others_keep_their_tables_too() -> None:
    operator = changed_by_chance(3, declared=True)
    operator.restart()
    every = dict(operator.services)
    placements = dict(operator.placements)
    for name in sorted(every):
        operator.services = {each: every[each] for each in every if each <= name}
        operator.step()
        operator.placements = placements | operator.placements
    assert operator.placements == placements


def test_a_change_after_a_restart_leaves_what_it_does_not_concern() -> None:
    operator = changed_by_chance(3, declared=True)
    operator.restart()
    operator.step()
    before = dict(operator.placements)
    operator.services["new"] = {
        "namespace": "a",
        "bandwidth": 2e7,
        "mode": "LocalOnly",
        "slo": {"latency": "9s"},
    }
    operator.step()
    kept = [key for key, each in before.items() if operator.placements.get(key) == each]
    assert len(kept) >= len(before) / 2
    assert any(key.service == "new" for key in operator.placements)


def test_a_service_that_changed_while_the_operator_was_away_is_planned() -> None:
    operator = Operator("Edge", 2, 4e9)
    operator.services["digits"] = {"bandwidth": 2e7, "slo": {"latency": "200ms"}, "load": {"rate": 1.0}}
    operator.step()
    operator.restart()
    operator.services["digits"]["slo"] = {"latency": "40ms"}
    assert operator.step() == len(operator.placements)
    assert all(float(each.spec.slo.latency) == 0.04 for each in operator.placements.values())


def test_more_memory_of_a_node_is_used_after_a_restart() -> None:
    operator = Operator("Edge", 1, 300.0 * (1 << 20))
    for name, namespace in (("one", "a"), ("two", "b")):
        operator.services[name] = {"namespace": namespace, "mode": "LocalOnly"}
        operator.step()
    assert {key.service for key in operator.placements} == {"one"}
    operator.restart()
    operator.nodes = members(1, 1, memory=900.0 * (1 << 20))
    operator.step()
    assert {key.service for key in operator.placements} == {"one", "two"}
    assert not any(UNFIT_ANNOTATION in each.metadata.annotations for each in operator.placements.values())


@pytest.mark.parametrize("tier", ["Edge", "Device"])
@pytest.mark.parametrize("latency", ["40ms", "90ms", "200ms"])
def test_a_table_read_from_its_placement_is_rendered_as_the_same_placement(tier: str, latency: str) -> None:
    nodes = members(1, 1, tier=tier)
    spec = pool_spec(tier=tier)
    one: PooledService = service("digits", nodes, bandwidth=2e7, slo={"latency": latency})
    plan = plan_services(pool(nodes, one, spec=spec))
    for entry in plan.of(one.key):
        assert isinstance(entry.plan, Plan)
        first = published(one, entry, spec)
        routes = published_routes(first, CARD)
        assert routes is not None
        table = replace(entry.plan.table, routes=routes)
        again = published(one, replace(entry, plan=replace(entry.plan, table=table)), spec)
        assert again == first


def test_a_placement_of_another_model_or_with_an_edited_route_has_no_table() -> None:
    nodes = members(1, 0)
    one = service("digits", nodes, bandwidth=2e7)
    (entry,) = plan_services(pool(nodes, one)).of(one.key)
    found = published(one, entry)
    other = CARD.model_copy(update={"exits": CARD.exits[:1]})
    assert published_routes(found, other) is None
    routes = tuple(route.model_copy(update={"name": "final@nowhere"}) for route in found.spec.routes)
    edited = found.model_copy(update={"spec": found.spec.model_copy(update={"routes": routes})})
    assert published_routes(edited, CARD) is None
