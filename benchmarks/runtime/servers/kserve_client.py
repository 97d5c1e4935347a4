"""Calls our server with KServe's Python clients; runs in KServe's environment.

Run with an HTTP port and a gRPC port that serve the 1KB model; prints the responses.
"""

import asyncio
import json
import sys

import numpy as np
from kserve import (  # type: ignore[import-not-found]
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)


async def ask(http: str, grpc: str) -> dict[str, object]:
    """Health, readiness and one inference each."""
    given = InferInput("x", [1, 256], "FP32")
    given.set_data_from_numpy(np.ones((1, 256), np.float32), binary_data=True)
    request = InferRequest("m", [given])
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    base = f"http://127.0.0.1:{http}"
    answer = await rest.infer(base, request, model_name="m")
    remote = InferenceGRPCClient(f"127.0.0.1:{grpc}")
    also = await remote.infer(request)
    found = {
        "rest": [await rest.is_server_live(base), await rest.is_server_ready(base)],
        "rest_model_ready": await rest.is_model_ready(base, "m"),
        "rest_infer": answer.outputs[0].as_numpy().tolist() == [[1.0] * 8],
        "grpc": [await remote.is_server_live(), await remote.is_server_ready()],
        "grpc_model_ready": await remote.is_model_ready("m"),
        "grpc_infer": also.outputs[0].as_numpy().tolist() == [[1.0] * 8],
    }
    await rest.close()
    await remote.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], sys.argv[2]))))
