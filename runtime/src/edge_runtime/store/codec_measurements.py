"""Measures accuracies of codecs once for a model and its validation data, and stores them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from edge_api.words import shown
from edge_runtime import errors
from edge_runtime.codecs.contracts import forms
from edge_runtime.errors import BadRequest, NotTried, TrialOverran
from edge_runtime.inference.memory import Memory, cgroup_limit
from edge_runtime.inference.sessions import engine_version, provider
from edge_runtime.json_values import Json
from edge_runtime.model_metadata import read_exits
from edge_runtime.slicing import Graph
from edge_runtime.store.accuracy_metrics import metric_named
from edge_runtime.store.blobs import Blobs, check_digest
from edge_runtime.store.holdings import Holdings
from edge_runtime.store.measured_models import only_input
from edge_runtime.store.measuring_process import MODULE, Order
from edge_runtime.store.reachable import NOTHING, Reachable
from edge_runtime.store.sources import fetch
from edge_runtime.store.validation_data import read_validation
from edge_runtime.trials.child_process import Child, Ended
from edge_runtime.trials.verdicts import Bounds, Engine, judged, out_of_memory

BUDGET: Final = 120.0
"""Seconds after which no further cut is started."""
_MORE: Final = 60.0  # seconds in addition to twice the budget, for loading and for the last cut
_WAIT: Final = 2.0


class CodecMeasurements:
    """One measurement at a time; other requests for it receive an incomplete response."""

    def __init__(
        self,
        blobs: Blobs,
        graph: Callable[[str], Graph],
        allowed: Reachable = NOTHING,
        budget: float = BUDGET,
        memory: Memory | None = None,
    ) -> None:
        """graph: returns a model by its digest."""
        self._blobs, self._graph, self._allowed, self._budget = blobs, graph, allowed, budget
        self._memory = memory or Memory(cgroup_limit())
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="measuring")
        self._running: dict[str, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, request: Json, holdings: Holdings) -> dict[str, Any]:
        """`{"complete", "samples", "metric", "measured": [...], "refused": [...], "confidences": [...]}` of
        `{"model", "exits"?, "validation"}`.

        validation: `{"storageUri", "digest"?, "metric"?}`. holdings: of the caller. Starts the measurement
        and waits briefly; if that is not enough, `complete` is false and there are no results yet. Raises
        ModelError, StorageError, BadRequest.
        """
        if not isinstance(request, dict) or not isinstance(request.get("validation"), dict):
            raise BadRequest("validation: missing: write {storageUri, digest?, metric?} of an .npz file")
        source = request["validation"]
        uri, digest = source.get("storageUri"), source.get("digest")
        if not isinstance(uri, str) or not uri:
            raise BadRequest(f"validation.storageUri: {shown(uri)} is not a string: write store://<path>")
        model = check_digest(request.get("model"), "model")
        holdings.check_registered(model)
        metric = metric_named(source.get("metric"))
        wanted = None if digest is None else check_digest(digest, "validation.digest")
        stored = fetch(uri, wanted, holdings, "validation", self._allowed)
        asked = [model, stored.digest, request.get("exits"), forms(), "confidences", metric.name]
        if any(len(each.get("outputs") or ()) > 1 for each in request.get("exits") or ()):
            asked.append("sent")  # earlier versions counted outputs that stay where they are computed
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        path = self._blobs.root / "codecs" / f"{key}.json"
        if path.is_file():
            known: dict[str, Any] = json.loads(path.read_bytes())
            return known
        with self._lock:
            running = self._running.get(key)
        if running is None:
            graph = self._graph(model)
            exits = read_exits(graph, request.get("exits"))
            data = self._blobs.read_blob(stored.digest)
            read_validation(data, graph.tensor(only_input(graph)), self._blobs.limit, metric)
            running = self._begin(
                key,
                Order(
                    str(self._blobs.blob_path(model).parent),
                    model,
                    stored.digest,
                    exits,
                    self._blobs.limit,
                    self._budget,
                    metric.name,
                ),
            )
        try:
            found = running.result(_WAIT)
        except TimeoutError:
            return {
                "complete": False,
                "samples": 0,
                "metric": metric.name,
                "measured": [],
                "refused": [],
                "confidences": [],
            }
        except (NotTried, TrialOverran):  # which may be otherwise the next time
            with self._lock:
                self._running.pop(key, None)
            raise
        if not any(out_of_memory(refusal["why"]) for refusal in found["refused"]):
            self._blobs.put(json.dumps(found).encode(), path)
        return found

    def close(self) -> None:
        """Ends the current measurement; it restarts with the next request for it."""
        self._closed = True
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _begin(self, key: str, order: Order) -> Future[dict[str, Any]]:
        with self._lock:
            if key not in self._running:
                self._running[key] = self._worker.submit(self._measure, order)
            return self._running[key]

    def _measure(self, order: Order) -> dict[str, Any]:
        """Measures in a separate process, which can crash, hang or use up the memory that is left."""
        bounds = Bounds(2 * order.budget + _MORE, self._memory.room())
        child = Child(MODULE, lambda: self._closed, idle=False)
        try:
            answer = child.ask(order.document(), bounds)
        except Ended as ended:
            verdict = judged(ended.end, Engine(engine_version(), provider().name, threads=1), bounds)
            what = f"validation: the codecs of model {order.model} cannot be measured"
            raise verdict.error(what) or BadRequest(what) from None
        finally:
            child.end()
        if "found" in answer:
            return dict(answer["found"])
        raise getattr(errors, answer["reason"], BadRequest)(answer["message"])
