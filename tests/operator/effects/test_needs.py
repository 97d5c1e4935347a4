"""What is fetched from a slow place holds up only what comes from there."""

from typing import Any

import pytest

from edge_api.model_sources import ModelSource, Validation
from edge_operator.effects.executor import STORE
from edge_operator.effects.needs import target, tenant
from edge_operator.keys import ServiceKey, SliceKey
from edge_operator.pool.facts import AccuraciesOf, CardOf, LayersOf, ProfileOf, SliceOf

Fetch = Any
DIGEST = "sha256:" + "0" * 64


def model(uri: str, namespace: str = "default") -> CardOf:
    return CardOf(ServiceKey(namespace, "digits"), ModelSource(storage_uri=uri))


def validation(uri: str, namespace: str = "default") -> AccuraciesOf:
    data = Validation.model_validate({"storageUri": uri})
    return AccuraciesOf(namespace, DIGEST, (), data, card=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("fetch", [model, validation])
def test_each_place_that_serves_files_is_a_target_of_its_own(fetch: Fetch) -> None:
    slow = fetch("https://slow.test/a/m.npz")
    assert target(slow) == target(fetch("https://slow.test/b/n.npz"))
    others = (
        "https://fast.test/a/m.npz",
        "http://slow.test/a/m.npz",
        "file:///slow.test/m.npz",
        "store://m.npz",
    )
    assert len({STORE, target(slow), *(target(fetch(uri)) for uri in others)}) == 6


@pytest.mark.parametrize("fetch", [model, validation])
def test_a_place_is_called_for_each_namespace_by_itself(fetch: Fetch) -> None:
    own, other = fetch("https://slow.test/m.npz"), fetch("https://slow.test/m.npz", "bank")
    assert target(own) != target(other)
    assert (tenant(own), tenant(other)) == ("default", "bank")


def test_what_the_store_has_itself_waits_for_the_store() -> None:
    wanted = (
        LayersOf("default", DIGEST),
        ProfileOf("default", DIGEST, "factory-1", "camera"),
        SliceOf("default", SliceKey(DIGEST, ("x",), ("y",), "fp32", "fp32")),
    )
    assert {target(need) for need in wanted} == {STORE}
    assert {tenant(need) for need in wanted} == {""}
