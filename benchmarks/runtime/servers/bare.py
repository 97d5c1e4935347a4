"""A minimal server: a lower bound for servers on uvicorn or grpcio with these messages.

It validates nothing. Run with the model's file, an HTTP port and a gRPC port.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import grpc
import numpy as np
import onnxruntime as ort
import orjson
import uvicorn
import uvloop
from tritonclient.grpc import service_pb2 as pb

HEADER = b"inference-header-content-length"
Message = MutableMapping[str, Any]
Generated = Any  # the generated messages have no types


def main(path: str, http_port: int, grpc_port: int) -> None:
    """Serves until it is killed."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options)

    async def app(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        length = int(next(v for n, v in scope["headers"] if n == HEADER))
        given = orjson.loads(body[:length])["inputs"][0]
        array = np.frombuffer(body, np.float32, offset=length).reshape(given["shape"])
        (result,) = session.run(["y"], {"x": array})
        described = {"name": "y", "datatype": "FP32", "shape": result.shape}
        outputs = [{**described, "parameters": {"binary_data_size": result.nbytes}}]
        header = orjson.dumps({"model_name": "m", "outputs": outputs})
        answer = header + result.tobytes()
        headers = [(HEADER, b"%d" % len(header)), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def infer(request: Generated, context: grpc.aio.ServicerContext[Any, Any]) -> Generated:
        array = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
        (result,) = session.run(["y"], {"x": array})
        response = pb.ModelInferResponse(model_name=request.model_name)
        response.outputs.add(name="y", datatype="FP32", shape=result.shape)
        response.raw_output_contents.append(result.tobytes())
        return response

    async def serve() -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            infer,
            request_deserializer=pb.ModelInferRequest.FromString,
            response_serializer=pb.ModelInferResponse.SerializeToString,
        )
        server = grpc.aio.server()
        generic = grpc.method_handlers_generic_handler(
            "inference.GRPCInferenceService", {"ModelInfer": handler}
        )
        server.add_generic_rpc_handlers((generic,))
        server.add_insecure_port(f"127.0.0.1:{grpc_port}")
        await server.start()
        settings: dict[str, Any] = {"http": "httptools", "ws": "none", "lifespan": "off", "access_log": False}
        config = uvicorn.Config(app, port=http_port, log_config=None, proxy_headers=False, **settings)
        await uvicorn.Server(config).serve()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
