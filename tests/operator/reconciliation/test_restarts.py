"""A restart of the operator changes nothing, calls no store, and serves the bytes that were resolved."""

import dataclasses
from typing import Any

import pytest

from edge_api.model_sources import ModelSource
from edge_api.tensors import Slice
from edge_operator.cluster import MODEL_PROFILES
from edge_operator.errors import StoreError
from edge_operator.store_answers import CodecAccuracies, ModelCard
from messages import mentions

World = Any  # tests/operator/conftest.py
CHANGED = "sha256:" + "cd" * 32
VALIDATION = {"storageUri": "store://digits/validation.npz"}
MODEL = {"storageUri": "store://digits/digits.onnx"}


def measured(*, refused: bool = False) -> CodecAccuracies:
    codecs = [
        {"exit": "final", "cut": [cut], "codec": codec, "bytes": size // part, "accuracy": 0.98}
        for cut, size in (("pool1", 4096), ("pool2", 1024))
        for codec, part in (("fp32", 1), ("int8", 4))
    ]
    why = [{"cut": ["image"], "codec": "int8", "why": "values out of range"}] if refused else []
    return CodecAccuracies.model_validate(
        {"complete": True, "samples": 200, "measured": codecs, "refused": why}
    )


@pytest.mark.parametrize("spec", [{}, {"model": MODEL | {"validation": VALIDATION}}])
def test_a_restart_with_nothing_changed_writes_nothing_and_asks_no_store(
    world: World, spec: dict[str, Any]
) -> None:
    world.store.accuracies = measured()
    world.change(**spec)
    world.settle()
    world.now += 120
    world.reconcile()
    world.restart()
    world.log.clear()
    world.store.registered.clear()
    writes, before = world.cluster.status_writes, world.service()
    world.reconcile()
    assert world.log == []
    assert world.store.registered == []
    assert world.cluster.status_writes == writes
    assert world.service() == before


def test_bytes_that_changed_at_the_address_are_not_rolled_out(world: World) -> None:
    world.settle()
    digest = world.service()["status"]["model"]["digest"]
    world.store.card = world.store.card.model_copy(update={"digest": CHANGED})
    world.restart()
    world.reconcile()
    assert {body["spec"]["model"]["digest"] for body in world.placements().values()} == {digest}
    model = world.service()["status"]["model"]
    assert (model["storageUri"], model["digest"]) == (MODEL["storageUri"], digest)
    assert (model["phase"], model["current"]) == ("Stable", digest)


def test_without_a_record_the_store_must_return_the_same_bytes(world: World) -> None:
    world.settle()
    digest = world.service()["status"]["model"]["digest"]
    world.restart()
    world.cluster.delete(MODEL_PROFILES, "default", "digits")
    world.store.failure = StoreError("DigestMismatch", f"model.digest: {digest} is not that of the file")
    world.reconcile()
    assert world.store.registered[-1].digest == digest
    ready = world.condition("ModelReady")
    assert (ready["status"], ready["reason"]) == ("False", "DigestMismatch")
    assert mentions("spec.model.digest", digest).search(ready["message"])


def test_the_digest_of_new_bytes_in_the_spec_rolls_them_out(world: World) -> None:
    world.settle()
    world.store.card = world.store.card.model_copy(update={"digest": CHANGED})
    for name, profile in world.store.profiles.items():
        world.store.profiles[name] = profile.model_copy(update={"model": CHANGED})
    world.change(model=MODEL | {"digest": CHANGED})
    world.settle()
    assert world.service()["status"]["model"]["digest"] == CHANGED
    assert {body["spec"]["model"]["digest"] for body in world.placements().values()} == {CHANGED}


def test_other_exits_of_the_same_bytes_are_requested_from_the_store(world: World) -> None:
    world.settle()
    digest = world.service()["status"]["model"]["digest"]
    world.restart()
    world.change(model=MODEL | {"exits": [{"name": "all", "output": "logits", "accuracy": 0.9}]})
    world.reconcile()
    assert [(s.digest, s.exits[0].name) for s in world.store.registered[-1:]] == [(digest, "all")]


def test_codecs_that_the_record_cannot_hold_are_requested_from_the_store(world: World) -> None:
    world.store.accuracies = measured(refused=True)
    world.change(model=MODEL | {"validation": VALIDATION})
    world.settle()
    world.restart()
    world.log.clear()
    world.reconcile()
    assert world.log == [f"codecs {VALIDATION['storageUri']}"]
    assert mentions("int8", "image", "values out of range").search(world.condition("Planned")["message"])


def test_slices_that_the_store_has_lost_are_requested_again(world: World) -> None:
    world.settle()
    world.restart()
    world.triton.models.clear()
    blob = world.store.blob
    world.store.blob = lambda _: (_ for _ in ()).throw(StoreError("NotFound", "no such blob"))
    world.log.clear()
    world.reconcile()
    assert world.condition("Placed")["reason"] == "NotFound"
    world.store.blob = blob
    world.reconcile()
    assert f"register {MODEL['storageUri']}" in world.log
    assert any(line.startswith("slice ") for line in world.log)
    assert world.condition("Placed")["status"] == "True"


def test_a_store_that_requires_tokens_from_now_on_gets_each_model_registered_for_its_namespace_once(
    world: World,
) -> None:
    world.settle()
    digest = world.service()["status"]["model"]["digest"]
    world.settings = dataclasses.replace(world.settings, store_token="/token")
    world.restart()
    world.log.clear()
    world.store.registered.clear()
    world.store.namespaces.clear()
    world.settle()
    assert [source.digest for source in world.store.registered] == [digest]
    cut = [line for line in world.log if line.startswith("slice")]
    assert cut
    assert set(world.store.namespaces) == {"default"}
    world.restart()
    world.log.clear()
    world.store.registered.clear()
    world.reconcile()
    assert (world.store.registered, [line for line in world.log if "slice" in line]) == ([], [])


def test_a_model_is_registered_again_if_the_store_has_lost_it_with_its_slices(world: World) -> None:
    world.settle()
    world.runtimes_report(loaded=False, reason="CannotLoad", message="no blob")
    made, lost = world.store.slice, [True]
    registered = world.store.register

    def register(source: ModelSource) -> ModelCard:
        lost[0] = False
        return registered(source)  # type: ignore[no-any-return]

    def slice_(*key: Any) -> Slice:
        if lost[0]:
            raise StoreError("NotFound", "no such model")
        return made(*key)  # type: ignore[no-any-return]

    world.store.register, world.store.slice = register, slice_
    world.log.clear()
    for _ in range(3):
        world.now += 60
        world.reconcile()
    assert f"register {MODEL['storageUri']}" in world.log
    assert any(line.startswith("slice ") for line in world.log)
    assert world.condition("ModelReady")["status"] == "True"
    assert world.condition("Placed")["status"] == "True"
