"""The statistics extension of a served model: what its counters count."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as over_grpc
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from edge_runtime.memoization.settings import CacheOptions, MemoizationSettings
from edge_runtime.model_statistics import Execution, ModelStatistics
from networks import info, model_of

Served = Any


def doubled() -> bytes:
    return model_of([helper.make_node("Add", ["x", "x"], ["y"])], [info("x", "N", 3)], [info("y", "N", 3)])


def parsing() -> bytes:
    """Fails on words that are not numbers."""
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT32)]
    return model_of(nodes, [info("x", "N", datatype="BYTES")], [info("y", "N", datatype="INT32")])


def send(client: httpx.Client, *rows: float, **parameters: object) -> httpx.Response:
    data = [value for row in rows for value in [row] * 3]
    given = {"name": "x", "shape": [len(rows), 3], "datatype": "FP32", "data": data}
    return client.post("/v2/models/m/infer", json={"inputs": [given], "parameters": parameters})


@pytest.fixture
def reach(serve_with: Callable[..., Served]) -> Callable[..., httpx.Client]:
    def to(model: bytes, **more: object) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{serve_with(model, **more).http}")

    return to


def read(client: httpx.Client, path: str = "/v2/models/m/stats") -> dict[str, Any]:
    (found,) = client.get(path).raise_for_status().json()["model_stats"]
    return dict(found)


def test_nothing_is_counted_before_the_first_request(reach: Callable[..., httpx.Client]) -> None:
    with reach(doubled()) as client:
        found = read(client)
    assert (found["name"], found["version"], found["last_inference"]) == ("m", "1", 0)
    assert (found["inference_count"], found["execution_count"], found["batch_stats"]) == (0, 0, [])
    assert {each["count"] for each in found["inference_stats"].values()} == {0}


def test_rows_requests_and_runs_are_counted_apart(reach: Callable[..., httpx.Client]) -> None:
    begin = int(time.time() * 1e3)
    with reach(doubled()) as client:
        for rows in ((1.0,), (1.0, 2.0, 3.0), (4.0,)):
            send(client, *rows).raise_for_status()
        found, everything = read(client), read(client, "/v2/models/stats")
        versioned = read(client, "/v2/models/m/versions/1/stats")
    assert found == everything == versioned
    assert (found["inference_count"], found["execution_count"]) == (5, 3)
    assert {batch["batch_size"]: batch["compute_infer"]["count"] for batch in found["batch_stats"]} == {
        1: 2,
        3: 1,
    }
    stats = found["inference_stats"]
    assert {key: value["count"] for key, value in stats.items()} == {
        **dict.fromkeys(("success", "queue", "compute_input", "compute_infer", "compute_output"), 3),
        **dict.fromkeys(("fail", "cache_hit", "cache_miss"), 0),
    }
    assert 0 < stats["compute_infer"]["ns"] < stats["success"]["ns"]
    assert begin <= found["last_inference"] <= time.time() * 1e3


def test_requests_that_are_refused_before_the_model_are_not_counted(
    reach: Callable[..., httpx.Client],
) -> None:
    with reach(doubled()) as client:
        assert client.post("/v2/models/m/infer", json={"inputs": []}).status_code == 400
        assert read(client)["inference_stats"]["fail"]["count"] == 0


def test_a_request_on_which_the_model_fails_is_a_failure(reach: Callable[..., httpx.Client]) -> None:
    with reach(parsing()) as client:
        for word in ("1", "one"):
            given = {"name": "x", "shape": [1], "datatype": "BYTES", "data": [word]}
            client.post("/v2/models/m/infer", json={"inputs": [given]})
        found = read(client)
    stats = found["inference_stats"]
    assert (stats["success"]["count"], stats["fail"]["count"], found["execution_count"]) == (1, 1, 1)
    assert stats["fail"]["ns"] > 0


def test_cached_responses_are_hits_and_no_inferences(reach: Callable[..., httpx.Client]) -> None:
    settings = MemoizationSettings(cache=CacheOptions())
    with reach(doubled(), memoization=settings) as client:
        for _ in range(3):
            send(client, 1.0).raise_for_status()
        found = read(client)
    stats = found["inference_stats"]
    assert (found["inference_count"], found["execution_count"]) == (1, 1)
    assert (stats["success"]["count"], stats["compute_infer"]["count"]) == (3, 1)
    assert (stats["cache_hit"]["count"], stats["cache_miss"]["count"]) == (2, 1)


def test_unknown_models_and_versions_have_no_statistics(serve_with: Callable[..., Served]) -> None:
    served = serve_with(doubled())
    with httpx.Client(base_url=f"http://127.0.0.1:{served.http}") as client:
        for path in (
            "other/stats",
            "m/versions/2/stats",
            "other/config",
            "m/versions/2/config",
            "m/else/1/config",
        ):
            assert client.get(f"/v2/models/{path}").status_code == 404
        assert client.post("/v2/models/stats").status_code == 405
    with over_grpc.InferenceServerClient(f"127.0.0.1:{served.grpc}") as client:
        for name, version in (("other", ""), ("m", "2")):
            for call in (client.get_inference_statistics, client.get_model_config):
                with pytest.raises(InferenceServerException) as caught:
                    call(name, version)
                assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_both_transports_report_the_same(serve_with: Callable[..., Served]) -> None:
    served = serve_with(doubled())
    given = over_grpc.InferInput("x", (2, 3), "FP32")
    given.set_data_from_numpy(np.ones((2, 3), np.float32))
    with over_grpc.InferenceServerClient(f"127.0.0.1:{served.grpc}") as client:
        client.infer("m", [given])
        (stats,) = client.get_inference_statistics("", as_json=True)["model_stats"]
        config = client.get_model_config("m").config
    with httpx.Client(base_url=f"http://127.0.0.1:{served.http}") as http:
        found, by_http = read(http), http.get("/v2/models/m/config").json()
    assert (stats["inference_count"], str(found["inference_count"])) == ("2", "2")
    assert stats["inference_stats"]["success"]["ns"] == str(found["inference_stats"]["success"]["ns"])
    assert (config.max_batch_size, list(config.input[0].dims)) == (by_http["max_batch_size"], [3])


def test_a_run_charges_each_of_its_requests_with_all_of_its_time() -> None:
    statistics = ModelStatistics(now=lambda: 12.5)
    for seconds in (0.03, 0.04):
        statistics.succeeded(seconds, rows=2)
    statistics.ran(Execution(4, (0.001, 0.002), inferring=0.01, stacking=0.0005, splitting=0.00025))
    statistics.hopped(0.1)
    statistics.failed(0.5)
    found: Any = statistics.document("m", "1")
    stats, (batch,) = found["inference_stats"], found["batch_stats"]
    assert (found["last_inference"], found["inference_count"], found["execution_count"]) == (12_500, 4, 1)
    assert stats["success"] == {"count": 2, "ns": 70_000_000}
    assert stats["fail"] == {"count": 1, "ns": 500_000_000}
    assert stats["queue"] == {"count": 2, "ns": 3_000_000}
    assert stats["compute_input"] == {"count": 2, "ns": 1_000_000}
    assert stats["compute_infer"] == {"count": 2, "ns": 120_000_000}
    assert stats["compute_output"] == {"count": 2, "ns": 500_000}
    assert (batch["batch_size"], batch["compute_infer"]) == (4, {"count": 1, "ns": 10_000_000})
