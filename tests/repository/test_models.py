"""The files of `make models` as data, the results that it keeps, and what it says of latencies."""

import tomllib
from pathlib import Path

import pytest

from benchmarks.models.catalogue import ModelFile
from benchmarks.models.checking import Checked
from benchmarks.models.comparisons import compared, near
from benchmarks.models.counters import Totals
from benchmarks.models.inputs import InputValues
from benchmarks.models.made.files import MADE
from benchmarks.models.packages import locked
from benchmarks.models.results import Results

LISTED = tomllib.loads(Path("benchmarks/models/packaged.toml").read_text())
EXPORTED = tomllib.loads(Path("benchmarks/models/exported.toml").read_text())


def test_every_package_of_the_lock_has_a_file_and_every_file_a_locked_package() -> None:
    assert {each["package"] for each in LISTED.values()} == locked().keys()


def test_names_differ_since_services_have_them() -> None:
    names = [*LISTED, *EXPORTED, *(made.name for made in MADE)]
    assert len(set(names)) == len(names)


def test_another_shape_has_as_many_dimensions_as_the_one_in_use() -> None:
    for name, listed in (LISTED | EXPORTED).items():
        for given in map(InputValues.of, listed["inputs"].values()):
            assert given.other is None or len(given.other) == len(given.shape), name


def test_results_are_kept_for_the_file_and_the_steps_that_they_are_of(tmp_path: Path) -> None:
    model = ModelFile("digits", "made", "made", tmp_path / "digits.onnx", {}, "")
    model.path.write_bytes(b"first")
    checked = Checked("digits", {"sliced": "1 of 3 cuts"}, ["digits, request 0: off"], cuts=3, routes=["a@b"])
    Results(tmp_path / "kept" / "models.jsonl").add(model, ["sliced"], checked)
    kept = Results(tmp_path / "kept" / "models.jsonl")
    assert kept.of(model, ["sliced"]) == checked
    assert kept.of(model, ["sliced", "placed"]) is None
    model.path.write_bytes(b"second")
    assert kept.of(model, ["sliced"]) is None


def test_parts_of_the_time_are_means_between_two_readings_of_the_counters() -> None:
    def totals(stage: float, hops: int, seconds: float, infer: int) -> Totals:
        text = (
            "# TYPE edge_stage_duration_seconds histogram\n"
            f'edge_stage_duration_seconds_sum{{service="ocr",route="a@b"}} {stage}\n'
            'edge_stage_duration_seconds_count{service="ocr",route="a@b"} 2\n'
            'edge_stage_duration_seconds_sum{service="other",route="a@b"} 9\n'
            "# TYPE edge_hop_duration_seconds histogram\n"
            f'edge_hop_duration_seconds_sum{{service="ocr",route="a@b",outcome="ok"}} {seconds}\n'
            f'edge_hop_duration_seconds_count{{service="ocr",route="a@b",outcome="ok"}} {hops}\n'
            "# TYPE edge_link_bandwidth_bits gauge\n"
            'edge_link_bandwidth_bits{service="ocr",peer="triton"} 2e+08\n'
        )
        parts = {part: {"count": 1, "ns": 0} for part in ("queue", "compute_input", "compute_output")}
        inference = {"success": {"count": hops}, "compute_infer": {"count": hops, "ns": infer}, **parts}
        return Totals.of(text, {"model_stats": [{"inference_stats": inference}]}, "ocr", "a@b")

    before, after = totals(0.5, 4, 1.0, 400_000_000), totals(0.5, 6, 1.25, 500_000_000)
    assert after.since(before) == pytest.approx({"hop": 0.125, "triton": 0.05})
    assert after.bandwidth == 2e8


def test_each_round_is_compared_with_the_plan_at_its_bandwidth() -> None:
    def planned(bandwidth: float) -> dict[str, float]:
        transfer = 1e7 / bandwidth
        return {"head": 0.0, "tail": 0.02, "transfer": transfer, "margin": 0.01, "total": 0.03 + transfer}

    rounds = [
        {"seconds": [0.1, 0.1, 9.0], "bandwidth": 1e8, "parts": {"triton": 0.05}},
        {"seconds": [0.05], "bandwidth": 2e8, "parts": {"triton": 0.02}},
        {"seconds": [], "bandwidth": 1.0, "parts": {}},
    ]
    row = compared(rounds, planned)
    assert row["predicted"] == pytest.approx((0.13 + 0.08) / 2)
    assert row["measured"] == pytest.approx(0.075)
    assert row["error"] == pytest.approx((0.3 + 0.6) / 2)
    assert row["errorBesidesCompute"] == pytest.approx((0.5 + 0.4) / 2)
    assert row["parts"]["predicted"]["tail"] == 0.02
    assert not near(row)


def test_a_route_that_never_responded_is_far_from_its_plan() -> None:
    row = compared([{"seconds": [], "bandwidth": 1e8, "parts": {}}], lambda _: {"total": 1.0})
    assert row["error"] is None
    assert not near(row)
