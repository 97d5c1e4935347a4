"""Sends the requests of one sequence to a service, one after another; runs in a node's network.

Prints a JSON list: for each request its `outputs` and `parameters`, or the `error` of the first that failed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--inputs", type=Path, required=True, help="an .npz file: each input by name, row by row"
    )
    parser.add_argument("--rows", required=True, help="FIRST:LAST, the rows to send")
    parser.add_argument("--sequence", type=int, required=True)
    parser.add_argument("--start", action="store_true", help="the first request starts the sequence")
    parser.add_argument("--end", action="store_true", help="the last request ends it")
    arguments = parser.parse_args()
    with np.load(arguments.inputs) as file:
        arrays = {name: file[name] for name in file.files}
    first, last = map(int, arguments.rows.split(":"))
    found: list[dict[str, Any]] = []
    with tritonclient.http.InferenceServerClient(arguments.address) as client:
        for row in range(first, last):
            tensors = []
            for name, array in arrays.items():
                one = array[row : row + 1]
                tensor = tritonclient.http.InferInput(name, list(one.shape), np_to_triton_dtype(one.dtype))
                tensors.append(tensor.set_data_from_numpy(one))
            try:
                result = client.infer(
                    arguments.model,
                    tensors,
                    sequence_id=arguments.sequence,
                    sequence_start=arguments.start and row == first,
                    sequence_end=arguments.end and row == last - 1,
                )
            except InferenceServerException as error:
                found.append({"error": error.message(), "status": error.status()})
                break
            response = result.get_response()
            outputs = {each["name"]: result.as_numpy(each["name"]).tolist() for each in response["outputs"]}
            found.append({"outputs": outputs, "parameters": response.get("parameters", {})})
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
