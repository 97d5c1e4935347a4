"""Tenants are set up at the nodes' own speed, and removed however the second act ends."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo import installation
from demo.errors import LoadFailed, NotInTime
from demo.existing_cluster import CLASS_LABEL
from demo.sharing import tenants as module
from demo.sharing.capacity import capacity
from demo.sharing.demonstration import demonstrate
from demo.sharing.results import SharingResult
from demo.sharing.tenants import LOAD, MOST_RATE, NOISY, QUIET, SERVICE, Shared, shared, tenants
from demo.training import TrainedModel
from messages import mentions
from sharing_results import LISTED
from tenant_cluster import CAMERA, SPEEDS, TenantCluster, profile


@contextlib.contextmanager
def no_step(name: str) -> Iterator[None]:
    yield


@pytest.fixture(autouse=True)
def uploads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The namespaces for which the model was uploaded."""
    found: list[str] = []

    def upload(cluster: object, file: Path, namespace: str) -> str:
        found.append(namespace)
        return "sha256:0"

    monkeypatch.setattr(installation, "upload", upload)
    return found


def started(
    cluster: Any, at: Shared | None = None, speeds: Mapping[str, float] = SPEEDS
) -> contextlib.AbstractContextManager[None]:
    return tenants(cluster, at or shared(cluster), Path("digits.onnx"), speeds, no_step, lambda line: None)


def test_rates_and_slo_follow_from_the_profile_of_the_slowest_entry_nodes() -> None:
    cluster: Any = TenantCluster()
    at = shared(cluster)
    assert (at.device_class, at.pool, at.terms.nodes) == ("camera", "factory", ("edge-b", "edge-c"))
    assert at.terms.slo == pytest.approx(8 * 0.2)
    assert at.terms.rate == pytest.approx(LOAD / 0.2)
    assert at.terms.exits == tuple(CAMERA)


def test_a_fast_node_gets_a_rate_that_a_client_can_multiply() -> None:
    fast = dict.fromkeys(CAMERA, "2ms")
    cluster: Any = TenantCluster(camera=fast, gateway=fast)
    assert LOAD * capacity(profile(fast, fast), "camera").rate > MOST_RATE
    assert shared(cluster).terms.rate == MOST_RATE


def test_each_tenant_has_a_namespace_and_a_service_with_the_declared_rate(uploads: list[str]) -> None:
    cluster = TenantCluster()
    with started(cluster):
        assert uploads == [QUIET, NOISY]
        for name in (QUIET, NOISY):
            assert ("Namespace", name) in cluster.objects
            spec = cluster.objects["Tenant", name]["spec"]
            assert spec["fairSharing"] == {"weight": "1"}
            assert spec["stopPolicy"] == "None"
            assert list(spec["namespaceSelector"]["matchLabels"].values()) == [name]
        service = cluster.objects["InferenceService", SERVICE]["spec"]
        assert service["load"] == {"rate": 0.75}
        assert service["slo"]["latency"] == "1600ms"
        assert service["entryNodes"] == {"nodeSelector": {CLASS_LABEL: "camera"}}
        assert cluster.pinned == ("edge-b", "edge-c")


def test_pods_start_without_a_limit_and_load_their_slices_again_at_the_speed_of_the_node() -> None:
    cluster = TenantCluster()
    with started(cluster):
        assert [speeds["camera"] for speeds in cluster.drained_at] == [None, None]
        assert [speeds["camera"] for speeds in cluster.loaded_at] == [None, None, 0.05, 0.05]
        assert cluster.speeds == SPEEDS


def test_nodes_that_cannot_be_limited_load_the_slices_once() -> None:
    cluster = TenantCluster(speeds={})
    with started(cluster, speeds={}):
        assert cluster.drained_at == []
        assert cluster.speeds == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, LoadFailed])
def test_an_error_or_an_interruption_removes_the_tenants(error: type[BaseException]) -> None:
    cluster = TenantCluster()
    with pytest.raises(error), started(cluster):
        raise error
    assert cluster.objects == {}
    assert (cluster.speeds, cluster.pinned) == (SPEEDS, ())


def test_the_tenants_are_removed_at_the_end() -> None:
    cluster = TenantCluster()
    with started(cluster):
        pass
    assert cluster.objects == {}
    assert (cluster.speeds, cluster.pinned) == (SPEEDS, ())


def test_tenants_that_do_not_become_ready_are_named_with_the_reason_and_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_READY_SECONDS", 0.0)
    cluster = TenantCluster(never_ready=True)
    with (
        pytest.raises(NotInTime, match=mentions(f"{QUIET}/{SERVICE}", "Ready=False", "Starting")),
        started(cluster),
    ):
        pass
    assert cluster.objects == {}
    assert cluster.speeds == SPEEDS


def demonstrated(cluster: Any, steps: list[str]) -> SharingResult:
    @contextlib.contextmanager
    def step(name: str) -> Iterator[None]:
        steps.append(name)
        yield

    return demonstrate(
        cluster,
        TrainedModel(Path("digits")),
        SPEEDS,
        seconds=0.6,
        timeout=5.0,
        console=Console(quiet=True),
        step=step,
        say=lambda line: None,
    )


def test_the_second_act_runs_from_the_set_up_to_the_removal() -> None:
    cluster, steps = TenantCluster(), list[str]()
    result = demonstrated(cluster, steps)
    assert result.error is None
    assert [phase.phase.name for phase in result.phases] == ["before", "10x", "after"]
    assert all(result.results(name) for name in (QUIET, NOISY))
    assert result.listed == LISTED
    assert steps == ["set up the tenants", "two tenants", "remove the tenants"]
    assert cluster.objects == {}


def test_tenants_that_cannot_start_are_the_error_of_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READY_SECONDS", 0.0)
    cluster = TenantCluster(never_ready=True)
    result = demonstrated(cluster, [])
    assert result.error is not None
    assert mentions(f"{QUIET}/{SERVICE}", "Starting").search(result.error)
    assert cluster.objects == {}
