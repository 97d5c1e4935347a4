"""A Triton server that names no node is measured by requests to it; local routes do not wait for it."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_api.devicepools import DevicePoolSpec
from edge_operator.cluster import NODES
from edge_operator.conditions import Blocked
from edge_operator.effects.needs import met
from edge_operator.errors import TritonUnreachableError
from edge_operator.pool.facts import Fact, Lookups, Need
from edge_operator.pool.measurements import Measurement, measure
from edge_operator.pool.states import PoolState
from edge_operator.pool.surroundings import Surroundings, of_pool
from edge_operator.pool_nodes import node_of, selection, server_to_measure
from edge_operator.store_answers import DeviceProfile
from edge_operator.tritons.admitted import Admitted
from edge_operator.tritons.server_profiles import (
    FIRST_RETRY,
    LAST_RETRY,
    Failed,
    ServerProfiles,
    Subject,
    slicings,
)
from edge_operator.tritons.triton import Arrays, Timed

World = Any  # tests/operator/conftest.py


class Measuring:
    """Triton whose models take 2 ms a request, 4 ms in one of twenty, and return zeros."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fed: list[dict[str, tuple[int, ...]]] = []

    def timed(self, address: str, name: str, feeds: Arrays, runs: int) -> Timed:
        assert name in self.world.triton.models
        self.fed.append({tensor: array.shape for tensor, array in feeds.items()})
        made = ("pool1", "pool2", "exit1_logits", "logits")
        return Timed({tensor: np.zeros((1, 4), np.float32) for tensor in made}, (0.002,) * 19 + (0.004,))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world.triton, name)


def _outside(world: World) -> Subject:
    pool = world.pool()
    del pool["spec"]["tritonServers"][0]["nodeSelector"]
    world.cluster.put(pool)
    world.remove_node("big")
    world.store.profiles.pop("cloud")

    found = _surroundings(world)
    spec = found.pool.spec
    server = server_to_measure(spec, "cloud")
    assert server is not None
    return Subject(server, selection("factory", spec, "cloud"), world.store.card, world.settings.installation)


def _surroundings(world: World) -> Surroundings:
    nodes = tuple(map(node_of, world.cluster.find(NODES)))
    found = of_pool("factory", world.pool(), ["factory"], nodes)
    assert isinstance(found, Surroundings)
    return found


def _measure_cloud(world: World) -> Blocked | None:
    """Measures the class of the server with what is known by now."""
    found = _surroundings(world)
    state, facts = PoolState("factory", world.settings), dict[Need[object], Fact]()
    for _ in range(2):
        wanted = Measurement(
            "default",
            world.store.card,
            found.pool,
            found.nodes,
            state,
            Lookups(facts),
            set(),
            lambda _: None,
            world.clock().wall(),
        )
        blocked = measure(wanted, ["cloud"])
        facts = {need: met(need, world.clients) for need in wanted.lookups.used}
    return blocked


def _profiles(world: World, triton: Any, pause: Any = None, jitter: float = 1.0) -> ServerProfiles:
    wait = pause or (lambda _: None)
    store, spread = world.store, lambda: jitter
    return ServerProfiles(triton, store, Admitted(), clock=lambda: world.now, pause=wait, jitter=spread)


def test_every_exit_and_segment_is_measured_on_the_outputs_of_those_before(world: World) -> None:
    subject, triton = _outside(world), Measuring(world)
    profiles = _profiles(world, triton)
    profiles.profile(subject)
    profiles.wait()
    found = profiles.profile(subject)
    assert isinstance(found, DeviceProfile)
    assert (found.device_class, found.node, found.selection) == ("cloud", "cloud", subject.selection)
    assert [(each.start, each.end) for each in found.segments] == [
        ("image", "pool1"),
        ("pool1", "exit1_logits"),
        ("pool1", "pool2"),
        ("pool2", "logits"),
    ]
    assert found.segments[0].mean_seconds == pytest.approx(0.0021)
    assert found.exits[0].p95_seconds == pytest.approx(0.004)
    assert len(triton.fed) == len(slicings(world.store.card)) == 6
    assert triton.fed[0] == {"image": (1, 1, 64, 64)}


def test_a_failed_measurement_says_why_and_is_retried(world: World) -> None:
    subject = _outside(world)
    profiles = _profiles(world, Measuring(world))
    world.triton.failure = TritonUnreachableError("no response")
    profiles.profile(subject)
    profiles.wait()
    found = profiles.profile(subject)
    assert found == Failed("no response", again=FIRST_RETRY, within=FIRST_RETRY)
    world.triton.failure = None
    world.now += FIRST_RETRY
    profiles.profile(subject)
    profiles.wait()
    assert isinstance(profiles.profile(subject), DeviceProfile)


@pytest.mark.parametrize(("jitter", "part"), [(0.0, 0.5), (1.0, 1.0)])
def test_failed_measurements_back_off_with_jitter_from_seconds_to_minutes(
    world: World, jitter: float, part: float
) -> None:
    subject = _outside(world)
    profiles = _profiles(world, Measuring(world), jitter=jitter)
    world.triton.failure = TritonUnreachableError("no response")
    found = list[Failed]()
    for _ in range(9):
        profiles.profile(subject)
        profiles.wait()
        failed = profiles.profile(subject)
        assert isinstance(failed, Failed)
        found.append(failed)
        world.now += failed.again
    assert [failed.within for failed in found] == [5, 10, 20, 40, 80, 160, LAST_RETRY, LAST_RETRY, LAST_RETRY]
    assert [failed.again for failed in found] == pytest.approx([part * failed.within for failed in found])


def test_the_delay_begins_when_the_attempt_ends(world: World) -> None:
    subject = _outside(world)
    profiles = _profiles(world, Measuring(world))

    def slow(_: str) -> frozenset[str]:
        world.now += 100
        raise TritonUnreachableError("no response")

    world.triton.ready = slow
    profiles.profile(subject)
    profiles.wait()
    found = profiles.profile(subject)
    assert isinstance(found, Failed)
    assert found.again == FIRST_RETRY


def test_a_failure_is_reported_without_a_change_until_an_attempt_succeeds(world: World) -> None:
    _outside(world)
    triton = Measuring(world)
    begun, held = threading.Event(), threading.Event()
    profiles = _profiles(world, triton)
    world.server_profiles = profiles
    world.triton.failure = TritonUnreachableError("no response")
    _measure_cloud(world)
    profiles.wait()
    first = _measure_cloud(world)
    assert first is not None
    assert (first.reason, first.transient) == ("ProfilingFailed", False)
    assert "no response" in first.message
    assert first.again == FIRST_RETRY
    world.now += 2
    later = _measure_cloud(world)
    assert later == replace(first, again=FIRST_RETRY - 2)

    def ready(_: str) -> frozenset[str]:
        begun.set()
        assert held.wait(20)
        raise TritonUnreachableError("no response")

    world.triton.ready = ready
    world.now += FIRST_RETRY
    _measure_cloud(world)
    assert begun.wait(20)
    under_way = _measure_cloud(world)
    held.set()
    profiles.wait()
    assert under_way is not None
    assert replace(under_way, again=0.0) == replace(first, again=0.0)
    assert under_way.again < FIRST_RETRY


def test_a_server_in_two_pools_is_measured_once_under_the_names_of_each(world: World) -> None:
    subject, triton = _outside(world), Measuring(world)
    server = subject.server.model_copy(update={"name": "backend", "device_class": "rack"})
    other = Subject(server, "shop-1234567890", subject.card, subject.owner)
    profiles = _profiles(world, triton)
    profiles.profile(subject)
    profiles.wait()
    found = profiles.profile(other)
    assert isinstance(found, DeviceProfile)
    assert (found.device_class, found.node, found.selection) == ("rack", "backend", "shop-1234567890")
    assert len(triton.fed) == len(slicings(world.store.card))


def test_a_server_in_the_pools_own_classes_or_with_a_selector_is_measured_on_a_node(world: World) -> None:
    _outside(world)
    pool = world.pool()
    pool["spec"]["tritonServers"][0]["deviceClass"] = "camera"
    world.cluster.put(pool)

    assert server_to_measure(DevicePoolSpec.model_validate(pool["spec"]), "camera") is None
    server = pool["spec"]["tritonServers"][0] | {"deviceClass": "cloud", "nodeSelector": {"class": "cloud"}}
    spec = DevicePoolSpec.model_validate(pool["spec"] | {"tritonServers": [server]})
    assert server_to_measure(spec, "cloud") is None


def test_local_routes_do_not_wait_for_the_profile_of_a_triton_server(world: World) -> None:
    world.store.profiles.pop("cloud")
    world.settle()
    assert set(world.placements()) == {"cam-1", "cam-2", "gate"}
    profiled = world.condition("Profiled")
    assert (profiled["status"], profiled["reason"]) == ("Unknown", "Profiling")
    assert "cloud" in profiled["message"]
    assert world.condition("Ready")["status"] == "True"
    assert world.planned().awaits_measurement, "the end of the measurement wakes the service"
    assert world.triton.models == set()


def test_a_service_without_local_routes_waits(world: World) -> None:
    world.store.profiles.pop("cloud")
    world.change(mode="CloudOnly")
    world.reconcile()
    assert world.placements() == {}
    assert world.condition("Profiled")["reason"] == "Profiling"
