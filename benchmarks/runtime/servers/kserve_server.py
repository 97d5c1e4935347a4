"""KServe's Python server around the same session; runs in the peer's environment.

Run with the model's file, an HTTP port and a gRPC port.
"""

import sys
from typing import Any

import kserve  # type: ignore[import-not-found]
import numpy as np
import onnxruntime as ort
from kserve import InferOutput, InferResponse, model_server


class Mean(kserve.Model):  # type: ignore[misc]
    """The session as KServe's examples wrap one."""

    def __init__(self, path: str) -> None:
        super().__init__("m")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(path, options)
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ANN401
        """Returns one response, raw if the caller's protocol supports it."""
        (result,) = self._session.run(["y"], {"x": payload.inputs[0].as_numpy()})
        output = InferOutput(name="y", shape=list(result.shape), datatype="FP32")
        output.set_data_from_numpy(result.astype(np.float32), binary_data=True)
        return InferResponse(payload.id or "", "m", [output])


if __name__ == "__main__":
    ports = ["--http_port", sys.argv[2], "--grpc_port", sys.argv[3]]
    arguments, _ = model_server.parser.parse_known_args(
        [*ports, "--workers", "1", "--enable_docs_url", "false", "--configure_logging", "false"]
    )
    kserve.ModelServer(
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        workers=1,
        enable_grpc=True,
        access_log_format=None,
    ).start([Mean(sys.argv[1])])
