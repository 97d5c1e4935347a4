"""Loading slices: those of tables, early exits and fallbacks use the same path."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.assignment import Slice
from edge_runtime.errors import DigestMismatch, NotFound, NotTried, TrialCrashed, TrialHung, Unreachable
from edge_runtime.inference.loading_core import LoadingCore, own_threads
from edge_runtime.inference.memory import Memory
from edge_runtime.inference.sessions import Session
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.routing.slice_loading import SliceLoader
from edge_runtime.trials.admission import Subject, Trials
from edge_runtime.trials.records import Records
from edge_runtime.trials.verdicts import Verdict
from messages import mentions
from misbehaving import crashing, endless, harmless, large
from networks import info, model_of


class Shelf(ModelStore):
    """A model store with some slices that counts requests for them."""

    def __init__(self, *blobs: bytes) -> None:
        super().__init__("http://127.0.0.1:1")
        self.blobs = {digest_of(data): data for data in blobs}
        self.asked: list[str] = []

    async def blob(self, digest: str) -> bytes:
        self.asked.append(digest)
        if digest not in self.blobs:
            raise Unreachable("no server")
        return self.blobs[digest]


class Node:
    """A node's disk, its trials and its loader."""

    def __init__(self, folder: Path, store: Shelf, **more: Any) -> None:
        self.cache = SliceCache(folder / "slices", store)
        self.trials = Trials(Records(folder / "trials"), **more)
        self.loader = SliceLoader(self.cache, self.trials)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def slice_of(data: bytes, columns: int = 6) -> Slice:
    tensors = [
        {"name": name, "datatype": "FP32", "shape": [-1, size]} for name, size in (("x", 8), ("y", columns))
    ]
    return Slice.model_validate(
        {"digest": digest_of(data), "size": len(data), "inputs": tensors[:1], "outputs": tensors[1:]}
    )


def dividing() -> bytes:
    """1 / x in integers, for each x, and then a product."""
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Div", ["one", "whole"], ["inverse"]),
        helper.make_node("Cast", ["inverse"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["number", "w"], ["y"]),
    ]
    weights = {"one": np.array(1), "w": np.ones((8, 6), np.float32)}
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return model_of(nodes, [info("x", "N", 8)], [info("y", "N", 6)], constants)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Any]:
    made: list[Node] = []

    def node(*blobs: bytes, **more: Any) -> tuple[Node, Shelf]:
        store = Shelf(*blobs)
        made.append(Node(tmp_path, store, **more))
        return made[-1], store

    yield node
    for one in made:
        one.loader.close()


async def test_a_slice_that_comes_later_passes_the_same_gate(nodes: Any) -> None:
    node, _ = nodes(crashing(), harmless())
    sessions: dict[str, Session] = {}
    with pytest.raises(TrialCrashed):
        await node.loader.session(slice_of(crashing()), sessions)
    session = await node.loader.session(slice_of(harmless()), sessions)
    assert await node.loader.session(slice_of(harmless()), sessions) is session
    assert list(sessions) == [digest_of(harmless())]


async def test_a_session_is_warmed_up_on_a_sample_in_place_of_zeros(nodes: Any) -> None:
    target = io.BytesIO()
    np.savez(target, x=np.ones((1, 8), np.float32))
    node, _ = nodes(dividing(), target.getvalue())
    slice_ = slice_of(dividing())
    samples = await node.loader.warm_inputs(digest_of(target.getvalue()), slice_.inputs)
    warmed = await node.loader.session(slice_, {}, samples=samples)
    assert warmed.warm_shapes == ((1, 8),)  # zeros end in a division by zero
    again = await node.loader.warm_inputs(digest_of(target.getvalue()), slice_.inputs, fetch=False)
    assert again is not None  # from the disk
    assert again.of(slice_.outputs) is None


async def test_samples_that_are_gone_or_do_not_fit_leave_the_warm_up_to_zeros(
    nodes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    target = io.BytesIO()
    np.savez(target, another=np.ones((1, 8), np.float32))
    node, _ = nodes(target.getvalue())
    inputs = slice_of(harmless()).inputs
    assert await node.loader.warm_inputs(digest_of(b"gone"), inputs) is None
    assert await node.loader.warm_inputs(digest_of(target.getvalue()), inputs) is None
    assert mentions("samples", "another").search(caplog.text)


async def test_all_of_a_table_are_tried_by_one_process_which_is_gone_then(nodes: Any) -> None:
    blobs = [harmless(seed) for seed in range(4)]
    node, _ = nodes(*blobs)
    assert await node.loader.admit(map(slice_of, blobs)) == {}
    assert node.trials.started == 1
    assert node.trials.pid is None


async def test_each_failing_slice_has_its_own_reason_and_the_others_are_tried(nodes: Any) -> None:
    gone = harmless(7)
    node, store = nodes(crashing(), endless(), harmless(), seconds=2.0)
    asked = [slice_of(crashing()), slice_of(gone), slice_of(endless(), 8), slice_of(harmless())]
    failures = await node.loader.admit(asked)
    kinds = {digest: type(error) for digest, error in failures.items()}
    assert kinds == {
        digest_of(crashing()): TrialCrashed,
        digest_of(gone): Unreachable,
        digest_of(endless()): TrialHung,
    }
    assert node.trials.known(*_parts(slice_of(harmless()))) is not None
    store.asked.clear()
    assert {d: type(e) for d, e in (await node.loader.admit(asked)).items()} == kinds
    assert store.asked == [digest_of(gone)], "what is known to fail is not fetched again"


async def test_a_damaged_file_is_fetched_again_and_tried(nodes: Any) -> None:
    node, store = nodes(harmless())
    file = node.cache.path(digest_of(harmless()))
    file.parent.mkdir()
    file.write_bytes(crashing())
    with pytest.raises((DigestMismatch, NotFound)):
        await node.loader.session(slice_of(harmless()), {}, fetch=False)
    assert store.asked == []
    await node.loader.session(slice_of(harmless()), {})
    assert file.read_bytes() == harmless()


async def test_what_the_disk_does_not_take_is_tried_all_the_same(nodes: Any, tmp_path: Path) -> None:
    node, _ = nodes(harmless(), crashing())
    for folder in ("slices", "trials"):
        (tmp_path / folder).write_text("no folder can be made here")
    with pytest.raises(TrialCrashed):
        await node.loader.session(slice_of(crashing()), {})
    assert (await node.loader.session(slice_of(harmless()), {})).size == len(harmless())


async def test_where_there_is_no_room_for_a_trial_nothing_is_loaded_and_nothing_is_written_down(
    nodes: Any, tmp_path: Path
) -> None:
    mib = 1 << 20
    node, _ = nodes(harmless(), memory=Memory(200 * mib, lambda: 150 * mib))
    failures = await node.loader.admit([slice_of(harmless())])
    assert "30 MiB are free" in str(failures[digest_of(harmless())])
    assert node.trials.started == 0
    assert not list((tmp_path / "trials").glob("*"))


async def test_closing_ends_a_trial_that_hangs_and_leaves_no_verdict(nodes: Any, tmp_path: Path) -> None:
    node, _ = nodes(endless())
    asking = asyncio.create_task(node.loader.admit([slice_of(endless(), 8)]))
    while node.trials.started == 0:  # noqa: ASYNC110 - another thread starts it
        await asyncio.sleep(0.02)
    node.loader.close()
    failures = await asking
    assert list(failures) == [digest_of(endless())]
    assert not list((tmp_path / "trials").glob("*"))


def _exists(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


async def test_closing_ends_a_process_that_waits_for_the_next_trial(nodes: Any) -> None:
    node, _ = nodes(harmless())
    with node.loader.one_process():
        await node.loader.admit([slice_of(harmless())])
        process = node.trials.pid
        assert _exists(process)
        node.loader.close()
    node.loader.close()
    async with asyncio.timeout(20):
        while _exists(process):  # noqa: ASYNC110 - another thread ends it
            await asyncio.sleep(0.02)
    assert node.trials.pid is None


async def test_a_table_of_known_slices_does_not_wait_for_what_is_being_tried(nodes: Any) -> None:
    node, _ = nodes(endless(), harmless())
    assert await node.loader.admit([slice_of(harmless())]) == {}
    asking = asyncio.create_task(node.loader.admit([slice_of(endless(), 8)]))
    while node.trials.started == 1:  # noqa: ASYNC110 - another thread starts it
        await asyncio.sleep(0.02)
    await node.loader.session(slice_of(harmless()), {})
    await node.loader.keep_only({digest_of(harmless())})
    assert node.trials.known(*_parts(slice_of(endless(), 8))) is None, "there is no verdict yet"
    assert not asking.done()
    node.loader.break_off({digest_of(endless())})
    assert [type(error) for error in (await asking).values()] == [NotTried]


async def test_old_verdicts_go_with_the_slices(nodes: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("edge_runtime.trials.records.MOST", 0)
    node, _ = nodes(harmless(1), harmless(2))
    await node.loader.admit([slice_of(harmless(1)), slice_of(harmless(2))])
    await node.loader.keep_only({digest_of(harmless(2))})
    (verdict,) = (tmp_path / "trials").iterdir()
    assert json.loads(verdict.read_bytes())["digest"] == digest_of(harmless(2))
    assert [path.name for path in (tmp_path / "slices").iterdir()] == [digest_of(harmless(2))[7:]]


def _parts(slice_: Slice) -> tuple[str, Any, Any]:
    return slice_.digest, slice_.inputs, slice_.outputs


class HeldTrials(Trials):
    """Trials that last until they are broken off."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.ended = threading.Event(), threading.Event()

    def admit(self, subject: Subject) -> Verdict:
        self.begun.set()
        assert self.ended.wait(20)
        raise NotTried(f"{subject.what}: it was broken off")

    def break_off(self, *, for_good: bool = False) -> None:
        self.ended.set()


async def test_a_newer_table_of_one_service_breaks_off_no_trials_of_another(tmp_path: Path) -> None:
    one, another, trials = harmless(1), harmless(2), HeldTrials()
    loader = SliceLoader(SliceCache(tmp_path, Shelf(one, another)), trials)
    admitting = asyncio.create_task(loader.admit([slice_of(one)]))
    await asyncio.to_thread(trials.begun.wait, 20)
    loader.break_off({digest_of(another)})
    assert not trials.ended.is_set()
    loader.break_off({digest_of(one), digest_of(another)})
    assert [type(error) for error in (await admitting).values()] == [NotTried]
    loader.close()


class WatchedCore(LoadingCore):
    """Whether the core for loading was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.taken_by: list[str] = []

    @contextlib.contextmanager
    def taken(self, *loading: int) -> Iterator[None]:
        self.taken_by.append(threading.current_thread().name.split("_")[0])
        assert threading.get_native_id() not in loading
        assert set(loading) <= set(own_threads())
        yield


@pytest.mark.parametrize("cached", [False, True])
async def test_a_large_slice_is_loaded_on_a_core_of_its_own(tmp_path: Path, *, cached: bool) -> None:
    model, core = large(17), WatchedCore()
    cache = SliceCache(tmp_path, Shelf(model, large()))
    if cached:
        await cache.fetch(digest_of(model))
    loader = SliceLoader(cache, None, core=core)
    await loader.session(slice_of(large()), {})
    assert core.taken_by == [], "a small one"
    await loader.session(slice_of(model), {})
    assert set(core.taken_by) == {"loading"}
    loader.close()


async def test_a_large_slice_is_loaded_from_the_disk_and_fetched_again_if_it_is_damaged(
    tmp_path: Path,
) -> None:
    model = large()
    shelf = Shelf(model)
    cache = SliceCache(tmp_path, shelf)
    for damaged in (False, True):
        if damaged:
            cache.path(digest_of(model)).write_bytes(model[:-1] + b"?")
        loader = SliceLoader(cache, None)
        session = await loader.session(slice_of(model), {})
        assert session.native
        assert session.size == len(model)
        assert cache.path(digest_of(model)).read_bytes() == model
        loader.close()
    assert shelf.asked == [digest_of(model)] * 2


async def test_a_large_slice_whose_packed_weights_do_not_fit_is_served_unpacked_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, mib = large(), 1 << 20
    for used, unpacked in ((100 * mib, False), (112 * mib, True)):  # of 120 MiB that are not reserved
        memory = Memory(134 * mib, lambda used=used: used)  # type: ignore[misc]
        cache = SliceCache(tmp_path, Shelf(model))
        await cache.fetch(digest_of(model))
        loader = SliceLoader(cache, None, memory=memory)
        await loader.session(slice_of(model), {})
        assert ("its weights are not packed" in caplog.text) is unpacked
        loader.close()


async def test_the_weights_of_a_large_slice_are_packed_as_planned(tmp_path: Path) -> None:
    model = large()
    loader = SliceLoader(SliceCache(tmp_path, Shelf(model)), None)
    for packed in (False, True, False):
        session = await loader.session(slice_of(model), {}, packed=packed)
        assert session.packed is packed
    loader.close()


async def test_two_services_share_a_slice_only_if_they_pack_it_alike(tmp_path: Path) -> None:
    model = large()
    loader = SliceLoader(SliceCache(tmp_path, Shelf(model)), None)
    unpacked = await loader.session(slice_of(model), {}, packed=False)
    packed = await loader.session(slice_of(model), {}, packed=True)
    assert unpacked is not packed
    assert await loader.session(slice_of(model), {}, packed=False) is unpacked
    assert await loader.session(slice_of(model), {}) in (packed, unpacked), "no choice: what is there"
    loader.close()


async def test_a_table_that_packs_otherwise_replaces_its_session(tmp_path: Path) -> None:
    model = large()
    loader = SliceLoader(SliceCache(tmp_path, Shelf(model)), None)
    sessions: dict[str, Session] = {}
    before = await loader.session(slice_of(model), sessions, packed=True)
    after = await loader.session(slice_of(model), sessions, packed=False)
    assert (before.packed, after.packed) == (True, False)
    assert list(sessions.values()) == [after]
    loader.close()


async def test_weights_that_the_plan_packs_stay_unpacked_while_the_memory_does_not_suffice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, mib, used = large(), 1 << 20, [112]
    memory = Memory(134 * mib, lambda: used[0] * mib)  # of 120 MiB that are not reserved
    loader = SliceLoader(SliceCache(tmp_path, Shelf(model)), None, memory=memory)
    sessions: dict[str, Session] = {}
    first = await loader.session(slice_of(model), sessions, packed=True)
    assert not first.packed
    assert "less than 2 times" in caplog.text
    assert await loader.session(slice_of(model), sessions, packed=True) is first, "it is not loaded again"
    used[0] = 90
    assert (await loader.session(slice_of(model), sessions, packed=True)).packed
    loader.close()


async def test_a_small_slice_is_not_loaded_again_for_another_choice(tmp_path: Path) -> None:
    loader = SliceLoader(SliceCache(tmp_path, Shelf(harmless())), None)
    sessions: dict[str, Session] = {}
    first = await loader.session(slice_of(harmless()), sessions, packed=False)
    assert await loader.session(slice_of(harmless()), sessions, packed=True) is first
    loader.close()


async def test_sessions_of_several_threads_are_not_confined_to_a_core(tmp_path: Path) -> None:
    core = WatchedCore()
    loader = SliceLoader(SliceCache(tmp_path, Shelf(large(17))), None, threads=2, core=core)
    await loader.session(slice_of(large(17)), {})
    assert core.taken_by == []
    loader.close()


async def test_two_services_that_load_the_same_slice_at_once_get_one_session(tmp_path: Path) -> None:
    shelf = Shelf(harmless())
    loader = SliceLoader(SliceCache(tmp_path, shelf), None)
    found = await asyncio.gather(*(loader.session(slice_of(harmless()), {}) for _ in range(5)))
    assert all(session is found[0] for session in found)
    assert shelf.asked == [digest_of(harmless())]
    loader.close()
