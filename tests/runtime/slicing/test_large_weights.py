"""Slices of models whose large weights stay in their files: the bytes are those that protobuf writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_runtime.errors import DigestMismatch, NotOnnx, TooLarge
from edge_runtime.graph_analysis.detached_weights import LEAST
from edge_runtime.slicing import Graph, digest_of, writing
from edge_runtime.slicing.pinning import main as pin
from networks import run
from weighty import weighty

WIDTH = 256
MODEL = weighty(4, WIDTH)
X = np.random.default_rng(1).normal(size=(2, WIDTH)).astype(np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    return path


def slices(graph: Graph) -> list[bytes]:
    return [graph.slice(["x"], ["h1"]), graph.slice(["h1"], ["y"])]


def weights(files: list[bytes]) -> list[dict[str, bytes]]:
    models = map(onnx.load_model_from_string, files)
    return [{i.name: numpy_helper.to_array(i).tobytes() for i in model.graph.initializer} for model in models]


def test_large_initializers_are_not_in_memory_and_small_ones_are(file: Path) -> None:
    graph = Graph(file)
    sizes = {i.name: i.ByteSize() for i in graph.model.graph.initializer}
    assert all(sizes[f"w{i}"] < 512 for i in range(4)), "where the numbers are"
    assert sizes["shape"] == onnx.load_model_from_string(MODEL).graph.initializer[4].ByteSize()
    assert graph.files == (digest_of(MODEL),)


def test_slices_have_the_bytes_that_protobuf_writes(file: Path) -> None:
    made = slices(Graph(file))
    assert made == slices(Graph(MODEL))
    for data in made:
        assert onnx.load_model_from_string(data).SerializeToString(deterministic=True) == data


def test_composed_slices_compute_what_the_model_does(file: Path) -> None:
    head, tail = slices(Graph(file))
    assert max(len(head), len(tail)) > 4 * WIDTH * WIDTH > LEAST
    found = run(tail, run(head, {"x": X}))
    assert found["y"].tobytes() == run(MODEL, {"x": X})["y"].tobytes()


def test_names_and_notes_of_large_initializers_stay(file: Path) -> None:
    model = onnx.load_model_from_string(MODEL)
    for initializer in model.graph.initializer:
        initializer.doc_string = f"of {initializer.name}"
        initializer.metadata_props.add(key="made", value="here")
    data = model.SerializeToString()
    found = {
        i.name: i for i in onnx.load_model_from_string(Graph(data).slice(["x"], ["h0"])).graph.initializer
    }
    assert found["w0"] == next(i for i in model.graph.initializer if i.name == "w0")


def test_chunks_are_short_however_large_the_weights_are(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(weighty(1, 1024))
    lengths = [len(chunk) for chunk in Graph(path).slice_chunks(["x"], ["y"])]
    assert sum(lengths) > 4 << 20
    assert max(lengths) == 1 << 20


def test_slices_of_a_model_with_large_external_data_are_those_of_one_file(tmp_path: Path, file: Path) -> None:
    apart = tmp_path / "apart.onnx"
    onnx.save_model(
        onnx.load_model(file), apart, save_as_external_data=True, location="w.bin", size_threshold=0
    )
    assert pin([str(apart)]) == 0
    data = tmp_path / "w.bin"
    graph = Graph(apart, lambda _: data)
    assert graph.files == (digest_of(apart), digest_of(data))
    assert weights(slices(graph)) == weights(slices(Graph(file)))
    assert (
        run(slices(graph)[0], {"x": X})["h1"].tobytes()
        == run(slices(Graph(file))[0], {"x": X})["h1"].tobytes()
    )
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with pytest.raises(DigestMismatch, match=r"w\.bin"):
        Graph(apart, lambda _: data)


def test_a_slice_beyond_the_limit_of_protobuf_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph(file)
    size = len(graph.slice(["x"], ["h0"]))
    monkeypatch.setattr(writing, "_MOST", size)
    assert len(graph.slice(["x"], ["h0"])) == size
    with pytest.raises(TooLarge, match=rf"a slice of \d operators has \d+ bytes.*{size}: cut it smaller"):
        graph.slice(["x"], ["h1"])


@pytest.mark.parametrize("size", [0, 7, 100_000])
def test_a_file_that_is_not_a_model_is_refused_with_its_first_bytes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x0f" * size)
    shown = " ".join(["0f"] * min(size, 8)) or "nothing"
    with pytest.raises(NotOnnx, match=rf"{size} bytes starting with {shown} "):
        Graph(path)
