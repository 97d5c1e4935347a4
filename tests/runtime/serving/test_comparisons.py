"""Runs that are compared with what the plan predicts of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.assignment import parse_placement
from edge_runtime.connections import Resolver
from edge_runtime.dataplane import Dataplane
from edge_runtime.metrics import Metrics
from edge_runtime.model_store import ModelStore, SliceCache
from edge_runtime.requests import InferenceRequest
from edge_runtime.residuals import LEAST_RUNS
from edge_runtime.routing.generations import Generations
from edge_runtime.routing.node_resources import NodeResources
from edge_runtime.routing.slice_loading import SliceLoader


async def test_single_items_of_a_planned_stage_are_compared_and_batches_are_not(
    stack: Any, tmp_path: Path
) -> None:
    store, metrics = ModelStore(stack.store), Metrics("digits")
    generations = Generations(
        metrics, NodeResources(SliceLoader(SliceCache(tmp_path, store), None), Resolver())
    )

    def document() -> Any:
        local = stack.local("exit1")
        local["stages"][0]["predictedCompute"] = "1ms"
        return stack.placement(local, link=None)

    try:
        assert await generations.use(parse_placement(await asyncio.to_thread(document)))
        plane = Dataplane(generations, metrics)
        rng = np.random.default_rng(9)
        for size in (1,) * LEAST_RUNS + (2,):
            image = rng.normal(size=(size, 1, 16, 16)).astype(np.float32)
            await plane.infer(InferenceRequest({"image": image}, ["logits"]))
        (report,) = plane.residuals.report(0.0)
        assert (report["exit"], report["count"], len(report["ratios"])) == ("exit1", LEAST_RUNS, LEAST_RUNS)
        assert all(0 < ratio <= 1000 for ratio in report["ratios"])
    finally:
        generations.close()
        await generations.resources.close()
        store.close()
