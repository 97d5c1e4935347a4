"""Sends held-out images to a service with tritonclient and prints the response; runs in a node's network."""

import argparse
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

import tritonclient.grpc
import tritonclient.http

from demo.samples import LabeledImages


def secured(arguments: argparse.Namespace) -> dict[str, Any]:
    """The TLS settings of the client library."""
    if arguments.tls is None:
        return {}
    files = {name: str(arguments.tls / name) for name in ("tls.crt", "tls.key", "ca.crt")}
    if arguments.protocol == "http":
        options = {"certfile": files["tls.crt"], "keyfile": files["tls.key"], "ca_certs": files["ca.crt"]}
        return {"ssl": True, "ssl_options": options}
    names = {"certificate_chain": "tls.crt", "private_key": "tls.key", "root_certificates": "ca.crt"}
    return {"ssl": True} | {name: files[file] for name, file in names.items()}


def connect(address: str, seconds: float) -> None:
    """Waits until the address accepts connections: a node's kube-proxy refuses those to a Service that it
    does not know yet."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=seconds).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", choices=["http", "grpc"], required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--index", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--tls", type=Path, help="folder of tls.crt, tls.key and ca.crt")
    parser.add_argument("--connect-within", type=float, help="seconds in which refusals are tried again")
    arguments = parser.parse_args()
    if arguments.connect_within:
        connect(arguments.address, arguments.connect_within)
    samples = LabeledImages.load(arguments.held_out)
    images = samples.images[arguments.index : arguments.index + arguments.count]
    library: Any = {"http": tritonclient.http, "grpc": tritonclient.grpc}[arguments.protocol]
    with library.InferenceServerClient(arguments.address, **secured(arguments)) as client:
        ready = (
            client.is_server_live() and client.is_server_ready() and client.is_model_ready(arguments.model)
        )
        tensor = library.InferInput("image", list(images.shape), "FP32")
        tensor.set_data_from_numpy(images)
        result = client.infer(arguments.model, [tensor], request_id="trial-1")
        if arguments.protocol == "grpc":
            response = result.get_response(as_json=True)
            parameters = {k: next(iter(v.values())) for k, v in response.get("parameters", {}).items()}
        else:
            response = result.get_response()
            parameters = response.get("parameters", {})
        output = response["outputs"][0]["name"]
        json.dump(
            {
                "ready": ready,
                "id": response.get("id"),
                "model": response.get("model_name") or response.get("modelName"),
                "output": output,
                "values": result.as_numpy(output).tolist(),
                "parameters": parameters,
            },
            sys.stdout,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
