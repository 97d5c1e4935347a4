"""A table that exceeds the memory limit is rejected; the previous one keeps serving."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.runtime.dense_placements import dataplane, network, placement, put, route
from edge_runtime.inference.memory import Memory, resident
from edge_runtime.metrics import Metrics
from edge_runtime.requests import InferenceRequest
from messages import mentions

MIB = 1 << 20


async def test_a_table_that_does_not_fit_is_refused_and_the_old_one_answers(tmp_path: Path) -> None:
    small, large = put(tmp_path, network(1)), put(tmp_path, network(2, 1024, 13))
    limit = (resident() + 40 * MIB) / 0.9  # 45 MiB of weights do not fit, not even once
    plane, generations, store = dataplane(tmp_path, Memory(limit))
    x = np.ones((1, 256), np.float32)
    assert await generations.use(placement(1, route("old", small)))
    before = await plane.infer(InferenceRequest({"x": x}, ["y"]))

    assert not await generations.use(placement(2, route("new", large), route("old", small)))
    assert not generations.loaded
    assert generations.generation == 2
    assert mentions("route new:", f"slice {large['digest']}:", "memory", "45 MiB").search(generations.message)
    after = await plane.infer(InferenceRequest({"x": x}, ["y"]))
    assert after.parameters["route"] == "old"
    np.testing.assert_array_equal(before.outputs[0], after.outputs[0])
    generations.close()
    await generations.resources.close()
    store.close()


async def test_the_metrics_tell_what_is_loaded_and_what_the_process_takes(tmp_path: Path) -> None:
    slices = [put(tmp_path, network(seed)) for seed in (1, 2)]
    sizes = sum(len(network(seed)) for seed in (1, 2))
    metrics = Metrics("m")
    _, generations, store = dataplane(tmp_path, metrics=metrics)
    # Two routes with the same slice load it once.
    routes = [route("a", slices[0]), route("b", slices[0]), route("c", slices[1])]
    assert await generations.use(placement(1, *routes))
    assert generations.table is not None
    assert generations.table.bytes == sizes
    assert generations.table.routes[0].session is generations.table.routes[1].session
    lines = metrics.exposition().decode().splitlines()
    told = {line.split("{")[0]: float(line.split()[-1]) for line in lines if line.startswith("edge_")}
    assert told["edge_sessions_bytes"] == sizes
    assert 10 * MIB < told["edge_resident_bytes"] < 10_000 * MIB
    generations.close()
    await generations.resources.close()
    store.close()
