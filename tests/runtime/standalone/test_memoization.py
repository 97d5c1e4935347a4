"""The input filter and the result cache for clients of `edge-runtime serve`."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from tritonclient.utils import InferenceServerException

import stackable
from edge_runtime.memoization.settings import CacheOptions, FilterOptions, MemoizationSettings
from messages import mentions

ServeWith = Callable[..., Any]
SCENES = np.random.default_rng(4).uniform(size=(3, 1, 1, 16, 16)).astype(np.float32)
NOISE = np.random.default_rng(5).normal(scale=0.003, size=(1, 1, 16, 16)).astype(np.float32)
PATIENT = FilterOptions(max_age=600.0)  # longer than any machine needs


class Camera:
    """Sends requests over one of the transports by tritonclient."""

    def __init__(self, module: Any, client: Any) -> None:
        self._module, self._client = module, client

    def ask(self, image: Any, stream: int | str = 0, raw: bool = True) -> tuple[dict[str, Any], Any]:
        """The response's parameters, and the logits, None if there are none."""
        given = self._module.InferInput("image", list(image.shape), "FP32")
        options: dict[str, Any] = {}
        if self._module is over_http:
            given.set_data_from_numpy(image, binary_data=raw)
            options["outputs"] = [over_http.InferRequestedOutput("logits", binary_data=raw)]
        else:
            given.set_data_from_numpy(image)
            options["outputs"] = [over_grpc.InferRequestedOutput("logits")]
        result = self._client.infer("m", [given], sequence_id=stream, **options)
        told = result.get_response()
        if self._module is over_http:
            return told["parameters"], result.as_numpy("logits")
        parameters = {
            name: getattr(value, value.WhichOneof("parameter_choice"))
            for name, value in told.parameters.items()
        }
        return parameters, result.as_numpy("logits")


@contextmanager
def camera(module: Any, served: Any) -> Iterator[Camera]:
    port = served.http if module is over_http else served.grpc
    client = module.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        yield Camera(module, client)
    finally:
        client.close()


BOTH = pytest.mark.parametrize("module", [over_http, over_grpc])


@BOTH
def test_each_camera_of_several_gets_its_own_last_result(
    serve_with: ServeWith, chain_model: bytes, module: Any
) -> None:
    served = serve_with(chain_model, memoization=MemoizationSettings(filter=PATIENT))
    with camera(module, served) as it:
        streams: tuple[int | str, ...] = (0, 7, "camera-8")
        first = [it.ask(scene, stream) for scene, stream in zip(SCENES, streams, strict=True)]
        again = [it.ask(scene + NOISE, stream) for scene, stream in zip(SCENES, streams, strict=True)]
        assert ["filtered" in parameters for parameters, _ in first] == [False] * 3
        for (_, computed), (parameters, repeated) in zip(first, again, strict=True):
            assert parameters["filtered"] is True
            assert 0.001 < parameters["distance"] < 0.01
            assert parameters["exit"] == "final"
            np.testing.assert_array_equal(computed, repeated)
        assert "filtered" not in it.ask(SCENES[0], 7)[0]  # another scene for camera 7
        if module is over_http:
            assert it.ask(SCENES[0], 7, raw=False)[0]["filtered"] is True
    lines = metrics(served)
    assert lines['edge_input_filter_total{outcome="computed",service="m"}'] == 4
    assert lines['edge_input_filter_total{outcome="repeated",service="m"}'] == 3 + (module is over_http)
    filtered = (
        'edge_request_duration_seconds_count{exit="final",outcome="filtered",route="local",service="m"}'
    )
    assert lines[filtered] == 3 + (module is over_http)


@BOTH
def test_a_dropped_input_is_answered_without_outputs(
    serve_with: ServeWith, chain_model: bytes, module: Any
) -> None:
    served = serve_with(
        chain_model, memoization=MemoizationSettings(filter=FilterOptions("Drop", max_age=600.0))
    )
    with camera(module, served) as it:
        assert it.ask(SCENES[0])[1].shape == (1, 10)
        parameters, logits = it.ask(SCENES[0])
        assert logits is None
        assert parameters["filtered"] is True
        assert parameters["distance"] == 0
        if module is over_http:
            assert it.ask(SCENES[0], raw=False)[1] is None
    assert metrics(served)['edge_input_filter_total{outcome="dropped",service="m"}'] >= 1


def test_what_was_computed_for_one_transport_is_known_to_the_other(
    serve_with: ServeWith, chain_model: bytes
) -> None:
    served = serve_with(chain_model, memoization=MemoizationSettings(cache=CacheOptions(max_age=600.0)))
    with camera(over_http, served) as http, camera(over_grpc, served) as grpc:
        parameters, computed = http.ask(SCENES[0])
        assert "cached" not in parameters
        for it in (grpc, http):
            parameters, cached = it.ask(SCENES[0], 3)
            assert parameters["cached"] is True
            np.testing.assert_array_equal(computed, cached)
        assert "cached" not in grpc.ask(SCENES[0] + NOISE)[0]
    lines = metrics(served)
    assert lines['edge_result_cache_total{outcome="hit",service="m"}'] == 2
    assert lines['edge_result_cache_total{outcome="miss",service="m"}'] == 2
    assert lines['edge_result_cache_bytes{service="m"}'] == 2 * (512 + 40)


def test_ever_new_sequences_are_read_right(serve_with: ServeWith, chain_model: bytes) -> None:
    served = serve_with(chain_model, memoization=MemoizationSettings(filter=PATIENT))
    with camera(over_http, served) as http, camera(over_grpc, served) as grpc:
        for stream in range(1, 301):  # more than the header cache can hold
            assert "filtered" not in http.ask(SCENES[0], stream)[0]
            assert grpc.ask(SCENES[0], stream)[0]["filtered"] is True
        for stream in (1, 300):
            assert http.ask(SCENES[0], str(stream))[0]["filtered"] is True


@BOTH
def test_a_sequence_that_is_invalid_is_refused_with_a_message(
    serve_with: ServeWith, chain_model: bytes, module: Any
) -> None:
    served = serve_with(chain_model)
    with camera(module, served) as it:
        assert it.ask(SCENES[0], 2**63 - 1)[1].shape == (1, 10)
        with pytest.raises(InferenceServerException, match=mentions("parameters.sequence_id:", 128)):
            it.ask(SCENES[0], "x" * 129)
        with pytest.raises(InferenceServerException, match=r"parameters\.sequence_id: -1 is not valid"):
            it.ask(SCENES[0], -1)
    given = {"name": "image", "shape": [1, 1, 16, 16], "datatype": "FP32", "data": [0.0] * 256}
    for wrong in (True, 1.5, [1], 2**64):
        body = json.dumps({"inputs": [given], "parameters": {"sequence_id": wrong}}).encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{served.http}/v2/models/m/infer", body, 10)
        assert refused.value.code == 400
        refused.value.close()


def test_what_is_off_has_no_metrics(serve_with: ServeWith, chain_model: bytes) -> None:
    served = serve_with(chain_model)
    assert not [name for name in metrics(served) if "filter" in name or "cache" in name]


def metrics(served: Any) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.http}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_flags_that_cannot_be_meant_are_one_sentence(tmp_path: Path) -> None:
    cases: dict[tuple[str, str], tuple[object, ...]] = {
        ("--filter-threshold", "2"): ('--filter-threshold: "2"', 0, 1),
        ("--filter-threshold", "some"): ('--filter-threshold: "some"', 0, 1),
        ("--filter-action", "Drop"): ("--filter-action:", "--filter-threshold"),
        ("--filter-max-age", "1s"): ("--filter-max-age:", "--filter-threshold"),
        ("--filter-max-age", "0s"): ('--filter-max-age: "0s"', 0),
        ("--cache-bytes", "lots"): ('--cache-bytes: "lots"', "quantity"),
        ("--cache-max-age", "60"): ("--cache-max-age: 60", "unit"),
        ("--cache-max-age", "60s"): ("--cache-max-age:", "--cache-bytes"),
    }
    for flags, parts in cases.items():
        ended = subprocess.run(
            [sys.executable, "-m", "edge_runtime.cli", "serve", str(tmp_path / "m.onnx"), *flags],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode != 0
        assert mentions(*parts).search(ended.stderr)
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "memoization",
    [MemoizationSettings(cache=CacheOptions()), MemoizationSettings(filter=PATIENT)],
    ids=["cache", "filter"],
)
def test_a_response_that_was_drawn_is_not_returned_again(
    serve_with: ServeWith, memoization: MemoizationSettings
) -> None:
    served = serve_with(stackable.drawing(), memoization=memoization)
    row = np.zeros((1, stackable.WIDTH), np.float32)
    client = over_http.InferenceServerClient(f"127.0.0.1:{served.http}")
    seen = set()
    for _ in range(4):
        given = over_http.InferInput("x", list(row.shape), "FP32")
        given.set_data_from_numpy(row)
        answer = client.infer("m", [given])
        assert not {"cached", "filtered"} & answer.get_response().get("parameters", {}).keys()
        seen.add(answer.as_numpy("y").tobytes())
    client.close()
    assert len(seen) == 4
