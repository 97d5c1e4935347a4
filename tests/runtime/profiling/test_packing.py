"""The memory that a model takes with packed weights and without, as a trial process measures it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.inference.memory import Memory
from edge_runtime.packing_profiles import unpacked
from edge_runtime.slicing import digest_of
from edge_runtime.tensors import Tensor
from edge_runtime.trials.admission import Subject, Trials
from weighty import WIDTH, weighty

X, Y = ((Tensor(name, "FP32", (-1, WIDTH)),) for name in ("x", "y"))
MODEL = weighty(12)


def subject(source: bytes | Path = MODEL, size: int = len(MODEL)) -> Subject:
    return Subject("the model", source, size, digest_of(MODEL), X, Y)


@pytest.mark.parametrize("packed", [True, False])
def test_the_memory_of_a_slice_does_not_depend_on_what_was_loaded_before(
    tmp_path: Path, packed: bool
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    with Trials() as trials:
        trials.admit(subject())
        first, second = (trials.memory(subject(path), packed=packed) for _ in range(2))
    assert first is not None
    assert 0.5 < first / len(MODEL) < 2.5
    assert second == pytest.approx(first, rel=0.3)


def test_a_device_with_too_little_memory_leaves_no_choice() -> None:
    with Trials(memory=Memory(200 << 20, lambda: 170 << 20)) as trials:
        assert unpacked(trials, subject(), 1) is None


def test_memory_that_could_not_be_measured_leaves_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter((3 * len(MODEL), -40_000))
    with Trials() as trials:
        monkeypatch.setattr(Trials, "memory", lambda *_, **__: next(taken))
        assert unpacked(trials, subject(), 1) is None


def test_the_slowdown_is_relative_to_packed_weights() -> None:
    with Trials() as trials:
        found = unpacked(trials, subject(), 1)
    assert found is not None
    document = found.document(0.012, 0.01)
    assert document["slowdown"] == pytest.approx(1.2)
    assert document["packedMemory"] == pytest.approx(found.packed_memory, rel=1e-3)
    assert document["unpackedMemory"] == pytest.approx(found.memory, rel=1e-3)
