"""A runtime whose disk is empty answers with slices of its node's cache while the model store is away."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest

from chains import IMAGE, SERVICE, Runtimes, branches
from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import NODE_CACHE_VARIABLE, runtime_deployment
from edge_operator.settings import Settings
from edge_operator.store import ModelStore
from edge_runtime.cli import _parser
from node_caches import place


def fetched(runtimes: Runtimes) -> dict[str, float]:
    """Slices that the runtime fetched, by source."""
    text = httpx.get(f"{runtimes.url('cam')}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("edge_slice_fetches_total{")]
    return {line.split('source="')[1].split('"')[0]: float(line.split()[-1]) for line in lines}


def test_a_new_runtime_answers_with_the_slices_of_its_node_while_the_store_is_away(tmp_path: Path) -> None:
    data = branches()
    right = onnxruntime.InferenceSession(data).run(["early_logits"], {"image": IMAGE})[0]
    with place(tmp_path, None) as found, ExitStack() as stack:
        with httpx.Client() as client:  # whose open connection would keep the store from ending
            client.put(f"{found.url}/v1/files/branches.onnx", content=data).raise_for_status()
            store = ModelStore(found.url, client)
            agent = found.agent()
            runtimes = Runtimes(store, store.register(SERVICE.spec.model), tmp_path / "nodes", stack)
            runtimes.folder.mkdir()
            runtimes.flags = ("--node-cache", agent.url)
            runtimes.start()
        first = runtimes.ask().json()
        assert agent.results() == {"miss": 1}
        runtimes.stop("cam")
        shutil.rmtree(runtimes.folder / "cam")
        found.stop_store()
        runtimes.run("cam", "branches")
        second = runtimes.ask().json()
        for reply in (first, second):
            logits = np.array(reply["outputs"][0]["data"], np.float32).reshape(-1, 3)
            np.testing.assert_allclose(logits, right, rtol=1e-4, atol=1e-5)
        assert agent.results() == {"hit": 1, "miss": 1}
        assert fetched(runtimes) == {"node-cache": 1, "model-store": 0}


def test_the_runtime_reads_the_address_from_the_variable_that_the_operator_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(
        "http://store:8080", "edge-runtime:test", node_cache_url="http://edge-node-cache:8080"
    )
    deployment = runtime_deployment(Runtime("shop", "cam"), Host("cam", ready=True), settings, SURGE)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    (variable,) = container["env"]
    assert variable["name"] == NODE_CACHE_VARIABLE
    monkeypatch.setenv(variable["name"], variable["value"])
    assert _parser().parse_args(container["args"]).node_cache == settings.node_cache_url
