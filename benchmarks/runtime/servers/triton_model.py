"""The same session in Triton's python backend; runs inside Triton."""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["BENCH_PACKAGES"])  # the stub's Python ignores PYTHONPATH

import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """The session as Triton's examples wrap one."""

    def initialize(self, args: dict[str, str]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(path, options)

        self._inputs = [i.name for i in self._session.get_inputs()]
        self._outputs = [o.name for o in self._session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        answers = []
        for request in requests:
            feeds = {n: pb_utils.get_input_tensor_by_name(request, n).as_numpy() for n in self._inputs}
            results = self._session.run(self._outputs, feeds)
            tensors = [pb_utils.Tensor(n, r) for n, r in zip(self._outputs, results, strict=True)]
            answers.append(pb_utils.InferenceResponse(tensors))
        return answers
