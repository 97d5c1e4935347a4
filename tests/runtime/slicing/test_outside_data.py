"""External data: only files that the model pins by digest, and only inside its folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_runtime.errors import BadRequest, DigestMismatch
from edge_runtime.slicing import Graph, digest_of
from edge_runtime.slicing.pinning import main
from edge_runtime.slicing.tensordata import DATA_KEY, inside, pinned, pins
from networks import run

IMAGES = np.random.default_rng(1).normal(size=(2, 1, 16, 16)).astype(np.float32)


@pytest.fixture
def divided(tmp_path: Path, chain_model: bytes) -> Path:
    """The chain with its weights in weights/chain.bin next to it."""
    path = tmp_path / "home" / "chain.onnx"
    (path.parent / "weights").mkdir(parents=True)
    onnx.save_model(
        onnx.load_model_from_string(chain_model),
        path,
        save_as_external_data=True,
        location="weights/chain.bin",
        size_threshold=0,
    )
    return path


def _moved(path: Path, location: str, **entries: str) -> onnx.ModelProto:
    model = onnx.load_model(path, load_external_data=False)
    for initializer in model.graph.initializer:
        for entry in initializer.external_data:
            entry.value = {"location": location, **entries}.get(entry.key, entry.value)
    return model


def test_data_that_the_file_does_not_pin_is_refused(divided: Path) -> None:
    with pytest.raises(BadRequest, match=r'"w1".* weights/chain\.bin\b'):
        Graph(divided.read_bytes())


def test_pinned_data_is_taken_in_and_slices_are_whole_files(divided: Path, chain_model: bytes) -> None:
    assert main([str(divided)]) == 0
    data = (divided.parent / "weights/chain.bin").read_bytes()
    assert pins(onnx.load_model(divided, load_external_data=False)) == {"weights/chain.bin": digest_of(data)}
    graph = Graph(divided.read_bytes(), {digest_of(data): data}.__getitem__)
    assert graph.digest == digest_of(divided.read_bytes())
    whole = run(chain_model, {"image": IMAGES})["logits"]
    head = run(graph.slice(["image"], ["pool1"]), {"image": IMAGES})
    assert run(graph.slice(["pool1"], ["logits"]), head)["logits"].tobytes() == whole.tobytes()


def test_pinned_data_that_was_changed_is_refused(divided: Path) -> None:
    assert main([str(divided)]) == 0
    data = bytearray((divided.parent / "weights/chain.bin").read_bytes())
    data[100] ^= 1
    with pytest.raises(DigestMismatch, match=rf"weights/chain\.bin.*{digest_of(bytes(data))}"):
        Graph(divided.read_bytes(), lambda _: bytes(data))


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "../secret.bin",
        "weights/../../secret.bin",
        "./w.bin/..",
        "",
        "C:\\w.bin",
        "a\\b",
        "a\0b",
    ],
)
def test_no_location_leaves_the_folder(divided: Path, location: str) -> None:
    (divided.parent.parent / "secret.bin").write_bytes(bytes(10_000))
    model = _moved(divided, location)
    model.metadata_props.add(key=DATA_KEY, value=json.dumps({location: "sha256:" + "0" * 64}))
    with pytest.raises(BadRequest, match="not a path inside"):
        Graph(model.SerializeToString(), lambda _: bytes(10_000))
    with pytest.raises(BadRequest, match="not a path inside"):
        pinned(model, divided.parent)


@pytest.mark.parametrize("link", ["secret.bin", "up/secret.bin"])
def test_no_link_leads_out_of_the_folder(divided: Path, link: str) -> None:
    outside = divided.parent.parent
    (outside / "secret.bin").write_bytes(bytes(10_000))
    (divided.parent / "secret.bin").symlink_to(outside / "secret.bin")
    (divided.parent / "up").symlink_to(outside)
    with pytest.raises(BadRequest, match="link out of"):
        pinned(_moved(divided, link), divided.parent)
    with pytest.raises(BadRequest, match="link out of"):
        inside(divided.parent, link)


def test_a_link_that_stays_in_the_folder_is_followed(divided: Path) -> None:
    (divided.parent / "alias.bin").symlink_to(divided.parent / "weights/chain.bin")
    assert set(pins(pinned(_moved(divided, "alias.bin"), divided.parent))) == {"alias.bin"}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"offset": "999999999"}, "which has"),
        ({"offset": "-8"}, "is at bytes -8 to"),
        ({"length": "999999999"}, "which has"),
        ({"length": "many"}, "offset or length .*number"),
    ],
)
def test_places_that_are_not_in_the_file_are_refused(
    divided: Path, entries: dict[str, str], words: str
) -> None:
    data = (divided.parent / "weights/chain.bin").read_bytes()
    model = pinned(_moved(divided, "weights/chain.bin", **entries), divided.parent)
    with pytest.raises(BadRequest, match=words):
        Graph(model.SerializeToString(), lambda _: data)


def test_data_of_constants_in_inner_nodes_is_outside_data_too(chain_model: bytes) -> None:
    model = onnx.load_model_from_string(chain_model)
    value = onnx.TensorProto(name="c", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=value))
    with pytest.raises(BadRequest, match="not a path inside"):
        Graph(model.SerializeToString())


@pytest.mark.parametrize("text", ["{", "[]", '{"weights/chain.bin": "md5:1"}'])
def test_pins_that_cannot_be_read_are_refused(divided: Path, text: str) -> None:
    model = onnx.load_model(divided, load_external_data=False)
    model.metadata_props.add(key=DATA_KEY, value=text)
    with pytest.raises(BadRequest, match=r"edge\.data"):
        Graph(model.SerializeToString(), lambda _: b"")


def test_pinning_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "no.onnx")]) == 1
    assert "no.onnx: [Errno 2]" in capsys.readouterr().err
    assert main([]) == 2
