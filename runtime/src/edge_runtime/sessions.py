"""onnxruntime sessions, as this program wants them: one thread, no spinning,
warm before the first request.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime as ort

from edge_runtime.errors import CannotLoad
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor

_WARM_RUNS = 2


class Session:
    """One slice, loaded. `seconds` is what the last warm run took."""

    def __init__(
        self, model: bytes, inputs: Sequence[Tensor], outputs: Sequence[Tensor], threads: int = 1
    ) -> None:
        """Raises CannotLoad when onnxruntime refuses the bytes, or they do not fit the contract."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # A spinning thread on a throttled node eats the quota that the next request needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base
            raise CannotLoad(f"onnxruntime cannot load the slice: {str(error)[:300]}") from error
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._output_names = [t.name for t in outputs]
        self.seconds = 0.0
        have = ({i.name for i in self._session.get_inputs()}, {o.name for o in self._session.get_outputs()})
        if have != ({t.name for t in inputs}, {t.name for t in outputs}):
            raise CannotLoad(f"the slice's file has tensors {have}, its placement says {inputs}, {outputs}")

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Outputs in the order of `outputs`, for inputs that were checked before."""
        results: list[Array] = self._session.run(self._output_names, feeds)
        return results

    def warm(self, runs: int = _WARM_RUNS) -> None:
        """Runs on zeros, so that no request pays for first-time work; checks the
        outputs' shapes on the way.
        """
        feeds = zeros(self.inputs)
        for _ in range(runs):
            start = time.perf_counter()
            results = self.run(feeds)
            self.seconds = time.perf_counter() - start
        for tensor, result in zip(self.outputs, results, strict=True):
            if not tensor.fits(result.shape) or result.dtype != NUMPY_TYPES[tensor.datatype]:
                raise CannotLoad(
                    f"the slice answers {result.dtype}{list(result.shape)}, its placement says {tensor}"
                )


def zeros(tensors: Sequence[Tensor]) -> dict[str, Array]:
    """A batch of one, all zero."""
    return {
        t.name: np.zeros([1 if d < 0 else d for d in t.shape], dtype=NUMPY_TYPES[t.datatype]) for t in tensors
    }
