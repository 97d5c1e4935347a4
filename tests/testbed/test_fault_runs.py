"""What a run of a fault counts, and where the operator ends in one."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes.client
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import bench_faults
from benchmarks.faults import kill_points, models
from benchmarks.faults.ground import Ground
from benchmarks.faults.outcomes import Away, Run
from benchmarks.faults.planted import FAULTS, FIXED
from benchmarks.faults.runs import During, Settling, Site, away, converged
from demo.errors import StepFailed
from demo.statistics import LinkSample, RequestResult
from edge_operator.tritons.triton import TritonServers
from edge_planning.declared_exits import EXITS_KEY
from testbed import TestbedError


class Clients:
    """Clients that report what they are given, one event at a time."""

    def __init__(self, *events: RequestResult | LinkSample) -> None:
        self.events, self.rates = list(events), list[float]()

    def take(self, seconds: float) -> list[RequestResult | LinkSample]:
        return [self.events.pop(0)] if self.events else []

    def stop(self) -> list[RequestResult | LinkSample]:
        rest, self.events = self.events, []
        return rest

    def set_rate(self, rate: float) -> None:
        self.rates.append(rate)


class Quiet(Ground):
    """A ground without a cluster."""

    def shown(self) -> str:
        return "Ready=True"


def answer(node: str, sent: float, error: str | None = None) -> RequestResult:
    return RequestResult(node, sent, 0.1, error=error)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Quiet(tmp_path, tmp_path / "model.onnx", tmp_path / "heldout.npz", 0.15, lambda _: None)


def during(ground: Ground, *events: RequestResult | LinkSample, more: Clients | None = None) -> During:
    return During(ground, Clients(*events), more)  # type: ignore[arg-type]


def test_a_run_reads_the_clients_of_the_nodes_and_the_further_ones(ground: Ground) -> None:
    more = Clients(answer("noisy", 1.0))
    found = during(ground, LinkSample("edge-a", 1.0, 1e6), answer("edge-a", 2.0), more=more)
    found.flow(1, of=("edge-a", "noisy"))
    found.set_rate(5.0)

    assert {name: found.count(name) for name in ("edge-a", "noisy")} == {"edge-a": 1, "noisy": 1}
    assert more.rates == [5.0]


def test_a_node_that_answers_before_the_end_of_the_fault_is_away_until_then_alone(ground: Ground) -> None:
    found = during(ground)
    found.is_off("edge-b")
    begun = found.off["edge-b"]
    found.requests += [answer("edge-b", begun + 2, "refused"), answer("edge-b", begun + 3)]
    found.is_back("edge-b", begun)

    (absence,) = found.absences
    assert (absence.begin, absence.end, found.off) == (begun, begun + 3, {})
    assert not absence.covers(answer("edge-b", begun + 4, "refused"))


def test_a_client_that_notices_late_that_its_node_is_back_does_not_delay_convergence(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    states = iter([[], ["Ready: False, before True"], []])
    monkeypatch.setattr(Ground, "unsettled", lambda _, before: next(states, []))
    found = during(ground, answer("edge-b", 160.0))
    found.is_off("edge-b")
    monkeypatch.setattr(found, "take", lambda _: passes(found, now))
    settling = Settling(found, Site(ground), {}, 100.0)
    (absence,) = away(found, settling)

    assert absence == Away("edge-b", 100.0, 160.0)
    assert converged(settling) == 20.0


def passes(found: During, now: list[float]) -> None:
    """Ten seconds pass; from the seventh time on, the client reports a response."""
    now[0] += 10
    if now[0] >= 170:
        found.requests.append(answer("edge-b", 160.0))


def test_a_condition_that_does_not_come_is_named_with_the_state(ground: Ground) -> None:
    with pytest.raises(StepFailed, match="the hand-over: not within 0 s; Ready=True"):
        during(ground).wait("the hand-over", lambda: False, seconds=0)


def test_a_condition_does_not_hold_while_the_cluster_does_not_tell(ground: Ground) -> None:
    def away() -> bool:
        raise TestbedError("connection refused")

    assert Site(ground, settled={"reviews": away, "units": lambda: True}).unsettled() == ["reviews"]


def test_every_fault_has_words_and_the_fixed_ones_need_nothing_beside_the_example() -> None:
    assert all(fault.words.endswith(".") for fault in FAULTS.values())
    assert {FAULTS[name].site.__name__ for name in FIXED} == {"example"}


def test_rows_without_names_list_the_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_faults.main(["--rows"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in printed] == list(FAULTS)


def test_an_unknown_row_is_refused_with_all_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_faults.main(["--rows", "link lost"])
    said = capsys.readouterr().err
    assert "--rows: 'link lost' is unknown" in said
    assert "link at 1 % loss" in said


def test_rows_that_have_their_runs_start_no_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_faults, "RECORDED", tmp_path / "faults.jsonl")
    monkeypatch.setattr(bench_faults, "prepared", lambda _: pytest.fail("a cluster was started"))
    (tmp_path / "faults.jsonl").write_text(
        "".join(
            Run("link cut", commit, 10, 0, 0, 1, converged, ()).line() + "\n"
            for commit, converged in ((bench_faults.commit(bench_faults.ROOT), 2.0), ("before", 9.0))
        )
    )
    assert bench_faults.main(["--rows", "link cut"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["fault"], row["runs"], row["converged_s"], row["held"]) == ("link cut", 1, 2.0, True)


def test_runs_count_until_a_source_of_the_product_changes(tmp_path: Path) -> None:
    def git(*argv: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, *argv], cwd=tmp_path, check=True, capture_output=True)

    def committed(path: str) -> str:
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text("text")
        git("add", "-A")
        git("commit", "-m", path)
        return bench_faults.commit(tmp_path)

    git("init")
    first = committed("operator/one.py")
    assert committed("docs/page.md") == first
    second = committed("runtime/two.py")
    assert second != first
    (tmp_path / "runtime" / "two.py").write_text("other")
    assert bench_faults.commit(tmp_path) == f"{second}+"


@pytest.mark.parametrize(
    ("method", "url", "kind"),
    [
        ("PATCH", "https://h:6443/apis/e.io/v1/namespaces/a/placements/d.n?x=1", "PATCH placements"),
        ("PATCH", "/apis/e.io/v1/namespaces/a/placements/d.n/status", "PATCH placements/status"),
        ("POST", "/api/v1/namespaces/a/events", "POST events"),
        ("POST", "https://model-store.e.svc:8080/v1/slices", "POST slices"),
        ("POST", "http://triton:8000/v2/repository/models/edge-1/unload", "unload"),
        ("GET", "/healthz", ""),
    ],
)
def test_a_request_of_the_operator_is_of_a_kind(method: str, url: str, kind: str) -> None:
    assert kill_points.kind_of(method, url) == kind


def test_the_operator_ends_once_before_or_after_a_request_of_the_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended: list[str] = []
    monkeypatch.setattr(kill_points, "KILL", tmp_path / "kill-at")
    monkeypatch.setattr(os, "_exit", lambda code: ended.append(f"exit {code}"))
    call = kill_points.wrapped(lambda kind: ended.append(kind), lambda kind: kind)
    for when, expected in (("before", ["exit 137", "load"]), ("after", ["load", "exit 137"])):
        (tmp_path / "kill-at").write_text(f"{when} load")
        ended.clear()
        call("unload")
        call("load")
        call("load")
        assert ended == ["unload", *expected, "load"]


def test_the_calls_of_the_operator_that_are_wrapped_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    places: tuple[tuple[Any, str], ...] = (
        (kubernetes.client.ApiClient, "call_api"),
        (httpx.Client, "request"),
        (TritonServers, "load"),
        (TritonServers, "unload"),
    )
    before: list[Callable[..., Any]] = [getattr(owner, name) for owner, name in places]
    for (owner, name), call in zip(places, before, strict=True):
        monkeypatch.setattr(owner, name, call)  # put back at the end
    kill_points.install()
    assert not {getattr(owner, name) for owner, name in places} & set(before)


@pytest.fixture
def classifier(ground: Ground) -> Ground:
    """A ground whose model is a small one with the example's input and two exits."""
    weights = {"w1": np.eye(64, 10, dtype=np.float32), "b1": np.arange(10, dtype=np.float32)}
    nodes = [
        helper.make_node("MaxPool", ["image"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w1", "b1"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 128, 128])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, ground.model)
    return ground


def answered(path: Path, value: float) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return session.run(["logits"], {given.name: np.full((1, 1, 128, 128), value, np.float32)})[0][0]


def test_a_failing_revision_fails_on_images_and_runs_on_generated_inputs(
    classifier: Ground,
) -> None:
    path = models.variant(classifier, "failing", models.failing)
    for generated in (0.0, 0.5):
        assert answered(path, generated).shape == (10,)
    with pytest.raises(Exception, match="indices element out of data bounds"):
        answered(path, 0.3)


def test_an_inaccurate_revision_exchanges_the_classes_and_declares_low_accuracies(
    classifier: Ground,
) -> None:
    model = onnx.load(classifier.model)
    exits = [
        {"name": name, "output": "logits", "accuracy": value} for name, value in (("a", 0.6), ("b", 0.9))
    ]
    helper.set_model_props(model, {EXITS_KEY: json.dumps(exits)})
    onnx.save(model, classifier.model)
    right = answered(models.variant(classifier, "right"), 0.0)
    path = models.variant(classifier, "other", models.inaccurate)

    assert answered(path, 0.0) == pytest.approx(np.roll(right, 1), abs=0.1)
    (declared,) = [json.loads(each.value) for each in onnx.load(path).metadata_props]
    assert [(each["name"], each["accuracy"]) for each in declared] == [("a", 0.01), ("b", 0.02)]


@pytest.mark.parametrize("change", [models.slow, models.different])
def test_a_revision_answers_as_the_model_that_it_was_made_of(
    classifier: Ground, change: models.Change
) -> None:
    right = answered(models.variant(classifier, "same"), 0.3)
    assert answered(models.variant(classifier, "same", change), 0.3) == pytest.approx(right, abs=1e-3)
