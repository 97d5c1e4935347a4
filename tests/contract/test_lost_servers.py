"""A lost Triton server, with tables rendered by the operator and real runtimes on this machine."""

from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import onnxruntime

from chains import IMAGE, POOL, SERVICE, Runtimes, branches, model_described, stand_in
from edge_operator.store import ModelStore
from edge_operator.tritons.residency import tails_of
from edge_planning.plans import Route

ACROSS = Route("final", "left+right", 0.95, 1000, 0.0, 0.05, 0.001, 0.001, 96)


def test_requests_use_the_local_route_until_the_table_with_the_next_server_is_there(
    store_url: str, tmp_path: Path
) -> None:
    session = onnxruntime.InferenceSession(branches(), providers=["CPUExecutionProvider"])
    early, whole = session.run(["early_logits", "logits"], {"image": IMAGE})
    with ExitStack() as stack:
        connections = stack.enter_context(httpx.Client())
        connections.put(f"{store_url}/v1/files/branches.onnx", content=branches()).raise_for_status()
        store = ModelStore(store_url, connections)
        runtimes = Runtimes(store, store.register(SERVICE.spec.model), tmp_path, stack)
        runtimes.start(ACROSS)
        np.testing.assert_allclose(runtimes.answer(ACROSS.name), whole, atol=1e-5)
        runtimes.stop("cloud-0")
        np.testing.assert_allclose(runtimes.answer("early@local"), early, atol=1e-5)
        following = {"name": "next", "http_address": "next.test:8000"}
        runtimes.server = POOL.spec.triton_servers[0].model_copy(update=following)
        entry, _ = runtimes.render(ACROSS)
        (tail,) = tails_of([entry], POOL.spec, "ours").values()
        slice_ = {
            "digest": tail.digest,
            "inputs": model_described(tail.inputs),
            "outputs": model_described(tail.outputs),
        }
        runtimes.run("next", tail.name, stand_in(tail.name, slice_))
        runtimes.rewritten[runtimes.server.url] = runtimes.url("next")
        runtimes.publish("cam", entry.body(), generation=2)
        np.testing.assert_allclose(runtimes.answer(ACROSS.name), whole, atol=1e-5)
    assert runtimes.placements["cam"]["spec"]["link"]["peer"] == "next"
