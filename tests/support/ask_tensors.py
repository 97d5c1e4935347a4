"""Sends arrays to a service with tritonclient and prints the response; runs in a node's network."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", choices=["http", "grpc"], required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--inputs", type=Path, required=True, help="an .npz file, with each input by name")
    arguments = parser.parse_args()
    with np.load(arguments.inputs) as file:
        arrays = {name: file[name] for name in file.files}
    library: Any = {"http": tritonclient.http, "grpc": tritonclient.grpc}[arguments.protocol]
    with library.InferenceServerClient(arguments.address) as client:
        tensors = []
        for name, array in arrays.items():
            tensor = library.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        result = client.infer(arguments.model, tensors)
        if arguments.protocol == "grpc":
            response = result.get_response(as_json=True)
            parameters = {k: next(iter(v.values())) for k, v in response.get("parameters", {}).items()}
        else:
            response = result.get_response()
            parameters = response.get("parameters", {})
        outputs = {each["name"]: result.as_numpy(each["name"]) for each in response["outputs"]}
        shown = {name: {"shape": a.shape, "values": a.ravel().tolist()} for name, a in outputs.items()}
        json.dump({"outputs": shown, "parameters": parameters}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
