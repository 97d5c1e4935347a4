"""The same session as an MLServer runtime; runs in the peer's environment."""

import os

import onnxruntime as ort
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]


class Mean(MLModel):  # type: ignore[misc]
    """The session as MLServer's examples wrap one."""

    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(os.environ["BENCH_MODEL"], options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        array = NumpyCodec.decode_input(payload.inputs[0])
        (result,) = self._session.run(["y"], {"x": array})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", result)])
