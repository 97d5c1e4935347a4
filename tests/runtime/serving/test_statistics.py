"""Triton's statistics and configuration of a service with a route table."""

from __future__ import annotations

from typing import Any

import httpx

Stack = Any


def _read(stack: Stack) -> dict[str, Any]:
    (found,) = httpx.get(f"http://127.0.0.1:{stack.http}/v2/models/digits/stats").json()["model_stats"]
    return dict(found)


def _runs(found: dict[str, Any]) -> int:
    """Nanoseconds of all runs at this node."""
    return sum(batch["compute_infer"]["ns"] for batch in found["batch_stats"])


def test_a_hop_is_compute_of_its_request_and_no_execution_of_this_node(stack: Stack, images: Any) -> None:
    image = images[:1]
    stack.start(stack.placement(stack.remote("pool1"), stack.local("exit1")))
    stack.wait_for_route(image, "final@pool1")
    before = _read(stack)
    answer = stack.infer(image)
    after = _read(stack)
    assert answer["parameters"]["cut"] == "pool1"
    assert after["inference_count"] == before["inference_count"] + 1
    assert after["execution_count"] == before["execution_count"] + 1
    compute, success = (
        after["inference_stats"][key]["ns"] - before["inference_stats"][key]["ns"]
        for key in ("compute_infer", "success")
    )
    assert _runs(after) - _runs(before) < compute < success


def test_the_configuration_is_that_of_the_whole_model(served: Stack) -> None:
    found = httpx.get(f"http://127.0.0.1:{served.http}/v2/models/digits/config").json()
    assert (found["name"], found["platform"]) == ("digits", "edge-intelligence")
    assert [(t["name"], t["dims"]) for t in found["input"]] == [("image", [1, 16, 16])]
    assert [(t["name"], t["dims"]) for t in found["output"]] == [("logits", [10])]
    assert found["max_batch_size"] > 0


def test_an_output_of_a_route_can_be_requested_as_classes(served: Stack, images: Any) -> None:
    given = {"name": "image", "shape": images.shape, "datatype": "FP32", "data": images.ravel().tolist()}
    wanted = {"name": "logits", "parameters": {"classification": 1}}
    url = f"http://127.0.0.1:{served.http}/v2/models/digits/infer"
    (output,) = httpx.post(url, json={"inputs": [given], "outputs": [wanted]}).json()["outputs"]
    (values,) = httpx.post(url, json={"inputs": [given]}).json()["outputs"]
    rows = [values["data"][i : i + 10] for i in range(0, 10 * len(images), 10)]
    assert (output["datatype"], output["shape"]) == ("BYTES", [len(images), 1])
    assert [int(text.split(":")[1]) for text in output["data"]] == [row.index(max(row)) for row in rows]
