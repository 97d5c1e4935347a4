"""Loads a model that does nothing into Triton, marked as another installation's; runs in a node's network.

python foreign_model.py HOST:PORT HEADER KEY NAME OWNER
"""

import base64
import json
import sys
import urllib.request

CODE = b"class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"


def main(address: str, header: str, key: str, name: str, owner: str) -> None:
    """Returns once the model is loaded. Raises HTTPError."""
    config = {
        "name": name,
        "backend": "python",
        "max_batch_size": 0,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [1]}],
        "instance_group": [{"kind": "KIND_CPU", "count": 1}],
        "parameters": {"owner": {"string_value": owner}},
    }
    parameters = {"config": json.dumps(config), "file:1/model.py": base64.b64encode(CODE).decode()}
    request = urllib.request.Request(
        f"http://{address}/v2/repository/models/{name}/load",
        data=json.dumps({"parameters": parameters}).encode(),
        headers={header: key},
        method="POST",
    )
    urllib.request.urlopen(request, timeout=60).close()


if __name__ == "__main__":
    main(*sys.argv[1:])
