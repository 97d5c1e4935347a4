"""The same session in Triton's python backend; runs inside Triton."""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["BENCH_PACKAGES"])  # the stub's Python looks at no PYTHONPATH

import onnxruntime as ort
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """The session as Triton's examples wrap one."""

    def initialize(self, args: dict[str, str]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(path, options)

    def execute(self, requests: list[Any]) -> list[Any]:
        answers = []
        for request in requests:
            array = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            (result,) = self._session.run(["y"], {"x": array})
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", result)]))
        return answers
