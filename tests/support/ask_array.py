"""Sends the array of a .npy file to a model by HTTP and prints the response as JSON."""

import argparse
import json

import numpy as np
import tritonclient.http


def main() -> None:
    """Asks once."""
    parser = argparse.ArgumentParser()
    for flag in ("--address", "--model", "--input", "--output", "--array"):
        parser.add_argument(flag, required=True)
    given = parser.parse_args()
    array = np.load(given.array)
    client = tritonclient.http.InferenceServerClient(given.address, network_timeout=60, connection_timeout=60)
    tensor = tritonclient.http.InferInput(given.input, list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    found = client.infer(given.model, [tensor])
    parameters = found.get_response().get("parameters", {})
    values = found.as_numpy(given.output)
    print(json.dumps({"parameters": parameters, "shape": values.shape, "values": values.ravel().tolist()}))


if __name__ == "__main__":
    main()
