"""A tail in Triton's python backend: runs the model.onnx next to this file. Sent with every slice."""

import os
import pathlib
import sys
from typing import Any

# The backend embeds an isolated Python, which ignores PYTHONPATH.
sys.path.extend(folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder)

# Disables ONNX Runtime's telemetry about loaded models.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """The class name that Triton's python backend requires."""

    def initialize(self, args: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        # As in the profile; spinning threads would take CPU time from other tails.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = pathlib.Path(__file__).with_name("model.onnx")
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        # Triton has no tensors without dimensions: clients send and receive scalars as one element.
        self._scalars = {tensor.name for tensor in self._session.get_inputs() if tensor.shape == []}
        self._outputs = [tensor.name for tensor in self._session.get_outputs()]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:  # noqa: ANN401
        try:
            feeds = {
                name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs
            }
            feeds |= {name: feeds[name].reshape(()) for name in self._scalars}
            results = [
                value if value.ndim else value.reshape(1) for value in self._session.run(self._outputs, feeds)
            ]
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        tensors = [pb_utils.Tensor(name, value) for name, value in zip(self._outputs, results, strict=True)]
        return pb_utils.InferenceResponse(output_tensors=tensors)
