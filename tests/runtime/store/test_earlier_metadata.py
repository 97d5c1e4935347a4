"""Metadata that an earlier version of the store wrote have exits of one output each."""

import json
from pathlib import Path
from typing import Any

from edge_runtime.store.blobs import Blobs
from edge_runtime.store.holdings import Holdings

DIGEST = "sha256:" + "0" * 64
TENSOR = {"name": "logits", "datatype": "FP32", "shape": [-1, 10]}
CUT = {"tensor": "image", "tensors": ["image"], "bytes": 16}


def written(folder: Path, exit_: dict[str, Any]) -> dict[str, Any]:
    holdings = Holdings(Blobs(folder, 1 << 20))
    path = holdings.metadata_path(DIGEST)
    path.parent.mkdir(parents=True)
    document = {"digest": DIGEST, "size": 1, "inputs": [], "exits": [exit_], "segments": []}
    path.write_text(json.dumps(document))
    (found,) = holdings.every_metadata(DIGEST)
    assert holdings.metadata(DIGEST) == found
    return found


def test_an_exit_of_one_output_is_read_as_a_list(tmp_path: Path) -> None:
    exit_ = {"name": "final", "output": "logits", "accuracy": 0.9, "tensor": TENSOR, "cuts": [CUT]}
    found = written(tmp_path, exit_)
    assert found["exits"] == [
        {
            "name": "final",
            "accuracy": 0.9,
            "outputs": ["logits"],
            "responseNames": "Final",
            "tensors": [TENSOR],
            "cuts": [CUT],
        }
    ]
    assert found["local"] == ""


def test_an_exit_of_this_version_is_left_as_it_is(tmp_path: Path) -> None:
    exit_ = {
        "name": "final",
        "outputs": ["boxes", "scores"],
        "accuracy": None,
        "responseNames": "Own",
        "tensors": [TENSOR],
        "cuts": [CUT],
    }
    assert written(tmp_path, exit_)["exits"] == [exit_]
