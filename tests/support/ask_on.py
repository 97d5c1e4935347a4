"""Sends held-out images to a service one after another until its input ends; runs in a node's network.

Prints a JSON object a line for each request: `index` of the image, and `values`, `output` and `parameters` of
the response, or the `error`.
"""

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import Any

import tritonclient.http
from tritonclient.utils import InferenceServerException

from demo.samples import LabeledImages


def until_closed(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--pause", type=float, required=True, help="seconds between two requests")
    arguments = parser.parse_args()
    images = LabeledImages.load(arguments.held_out).images[:16]
    ended = threading.Event()
    threading.Thread(target=until_closed, args=(ended,), daemon=True).start()
    with tritonclient.http.InferenceServerClient(arguments.address, network_timeout=30) as client:
        sent = 0
        while not ended.wait(arguments.pause):
            index = sent % len(images)
            tensor = tritonclient.http.InferInput("image", [1, *images.shape[1:]], "FP32")
            tensor.set_data_from_numpy(images[index : index + 1])
            found: dict[str, Any] = {"index": index}
            try:
                result = client.infer(arguments.model, [tensor])
            except InferenceServerException as error:
                found |= {"error": str(error)}
            else:
                response = result.get_response()
                output = response["outputs"][0]["name"]
                found |= {"output": output, "values": result.as_numpy(output).tolist()}
                found |= {"parameters": response.get("parameters", {})}
            print(json.dumps(found), flush=True)
            sent += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
