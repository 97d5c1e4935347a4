"""`edge-runtime profile` and `serve` with given inputs, and with generated ones."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edge_runtime.errors import BadRequest, CannotLoad
from edge_runtime.file_profiles import FileProfile, Progress, profile_file
from edge_runtime.samples.flags import Given
from edge_runtime.standalone import open_model
from messages import mentions
from networks import info, model_of

COMMAND = [sys.executable, "-m", "edge_runtime.cli"]


def quotient() -> bytes:
    """Integers divided by integers, which onnxruntime rejects for 0."""
    a, b, y = (info(name, "N", datatype="INT64") for name in "aby")
    return model_of([helper.make_node("Div", ["a", "b"], ["y"])], [a, b], [y])


def inner_quotient() -> bytes:
    """Fails for zeros in the middle, which never occur there: divides by x + 1."""
    nodes = [
        helper.make_node("Add", ["x", "one"], ["more"]),
        helper.make_node("Div", ["one", "more"], ["y"]),
    ]
    one = numpy_helper.from_array(np.array([1], np.int64), "one")
    return model_of(
        nodes, [info("x", "N", 2, datatype="INT64")], [info("y", "N", 2, datatype="INT64")], [one]
    )


def pictures() -> bytes:
    """A network for images of any size."""
    weights = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    return model_of(
        nodes,
        [info("images", "N", 3, "H", "W")],
        [info("y", "N", 4)],
        [numpy_helper.from_array(weights, "w")],
    )


def profiled(folder: Path, model: bytes, given: Given = Given()) -> FileProfile:
    (folder / "m.onnx").write_bytes(model)
    return profile_file(folder / "m.onnx", 1, 0.01, lambda done, of: None, given)


def crossing(profile: FileProfile) -> dict[tuple[str, str], int]:
    return {key: size for key, (size, _) in profile.segments.items()}


def test_a_model_that_refuses_zeros_says_what_to_give_and_is_measured_on_it(tmp_path: Path) -> None:
    with pytest.raises(CannotLoad, match=r"zeros .*division by zero.*--input b=VALUE"):
        profiled(tmp_path, quotient())
    found = profiled(tmp_path, quotient(), Given(values={"b": "2"}))
    assert found.samples.values == {"a": "zeros", "b": "given"}
    assert crossing(found) == {("a+b", "y"): 16}
    with pytest.raises(CannotLoad, match=r"given inputs .*division by zero"):
        profiled(tmp_path, quotient(), Given(values={"a": "1", "b": "0"}))


def test_slices_are_measured_on_what_those_before_them_make(tmp_path: Path) -> None:
    found = profiled(tmp_path, inner_quotient())
    assert ("more", "y") in found.segments


def test_sizes_that_are_assumed_are_named_in_table_and_json(tmp_path: Path) -> None:
    found = profiled(tmp_path, pictures())
    assert [(a["dimension"], a["symbol"], a["size"]) for a in found.document()["assumed"]] == [
        (0, "N", 1),
        (2, "H", 1),
        (3, "W", 1),
    ]
    assert mentions("0 (N) as 1", "2 (H) as 1", "3 (W) as 1").search(found.table())
    assert found.segments == {}
    assert "--shape images=Nx3xHxW" in found.note


def test_a_model_of_open_sizes_is_cut_at_the_sizes_that_are_given(tmp_path: Path) -> None:
    for rows in (1, 2):
        found = profiled(tmp_path, pictures(), Given({"images": (rows, 3, 32, 48)}))
        assert crossing(found) == {
            ("images", "c"): rows * 3 * 32 * 48 * 4,
            ("c", "p"): rows * 4 * 32 * 48 * 4,
            ("p", "g"): rows * 4 * 16 * 24 * 4,
            ("g", "y"): rows * 4 * 4,
        }
        assert (found.note, found.document()["assumed"]) == ("", [])


def test_every_sample_is_run_in_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", images=np.ones((3, 3, 8, 8), np.float32))
    found = profiled(tmp_path, pictures(), Given(samples=tmp_path / "s.npz"))
    assert found.document()["samples"] == 3
    assert crossing(found)["images", "c"] == 3 * 8 * 8 * 4
    np.savez(tmp_path / "bad.npz", a=np.array([6, 6, 6]), b=np.array([1, 0, 2]))
    with pytest.raises(CannotLoad, match="division by zero"):
        profiled(tmp_path, quotient(), Given(samples=tmp_path / "bad.npz"))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_flags_reach_the_command(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(quotient())
    common = ("profile", path, "--seconds", 0.01, "--format", "json")
    document = json.loads(run(*common, "--input", "b=3", "--shape", "a=5").stdout)
    assert [(i["name"], i["shape"], i["values"]) for i in document["inputs"]] == [
        ("a", [5], "zeros"),
        ("b", [5], "given"),
    ]
    refused = run(*common, "--input", "c=3")
    assert refused.returncode == 1
    assert refused.stderr.startswith('BadRequest: --input: "c" ')
    assert run(*common, "--shape", "a:5").returncode == 2
    refused = run("serve", path, "--http-port", 0, "--grpc-port", 0, "--input", "c=3")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert '--input: "c" ' in refused.stderr


def test_the_model_is_warmed_up_on_the_given_samples(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(quotient())
    with caplog.at_level(logging.INFO):
        unknown = open_model(path, 1).seconds
    assert len(caplog.records) == 1
    assert "served without a warm-up" in caplog.messages[0]
    assert "--input b=VALUE" in caplog.messages[0]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        known = open_model(path, 1, Given(values={"b": "1"})).seconds
    assert caplog.messages == []
    assert known < unknown
    with pytest.raises(BadRequest, match=mentions("a has 1")):
        open_model(path, 1, Given({"a": (1, 2)}))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_long_work_says_how_far_it_is_and_short_work_only_on_a_terminal(stream: Any) -> None:
    now = [0.0]
    said = stream()
    told = Progress(said, 10, lambda: now[0])
    for done in range(20):
        told(done, 100)
        now[0] += 0.1
    assert bool(said.getvalue()) == said.isatty()
    said.truncate(0)
    for done in range(20, 101):
        now[0] += 0.5
        told(done, 100)
    if said.isatty():
        assert said.getvalue().endswith("\r[##########] 100%\n")
    else:
        lines = said.getvalue().strip("\0").splitlines()
        assert lines[0] == "profile: 20% measured"
        assert 4 <= len(lines) <= 5
