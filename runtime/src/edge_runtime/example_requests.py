"""A command for the shell that sends a first request to a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edge_runtime.tensors import Contract, Tensor

_INLINE_VALUES: Final = 32
_SAMPLES: Final[Mapping[str, str]] = {"BOOL": "False", "BYTES": '""', "FP16": "0.0", "BF16": "0.0"}


def example(name: str, inputs: Sequence[Tensor], address: str, tls: Path | None = None) -> str:
    """A command to paste that sends zeros for every input; `tls` is a folder of certificates."""
    url = f"http://{address}/v2/models/{name}/infer"
    if tls is not None:
        files = f"--cacert {tls}/ca.crt --cert {tls}/tls.crt --key {tls}/tls.key"
        url = f"{files} https://{address}/v2/models/{name}/infer"
    entries = []
    for tensor in inputs:
        shape = [1 if d < 0 else d for d in tensor.shape]
        count = 1
        for dim in shape:
            count *= dim
        value = _SAMPLES.get(tensor.datatype, "0.0" if tensor.datatype.startswith("FP") else "0")
        entries.append((tensor, shape, count, value))
    if all(count <= _INLINE_VALUES for _, _, count, _ in entries):
        document = {
            "inputs": [
                {"name": t.name, "shape": s, "datatype": t.datatype, "data": [_value(v)] * n}
                for t, s, n, v in entries
            ]
        }
        return f"curl -s {url} -d '{json.dumps(document)}'"
    listed = ", ".join(
        f'{{"name": "{t.name}", "shape": {s}, "datatype": "{t.datatype}", "data": [{v}] * {n}}}'
        for t, s, n, v in entries
    )
    return f"python3 -c 'import json; print(json.dumps({{\"inputs\": [{listed}]}}))' | curl -s {url} -d @-"


def _value(text: str) -> object:
    return {"False": False, '""': "", "0.0": 0.0, "0": 0}[text]


def signature(contract: Contract) -> str:
    """Names, datatypes and shapes of a model's inputs and outputs."""
    takes, gives = (", ".join(map(_shown, tensors)) for tensors in (contract.inputs, contract.outputs))
    return f"{takes} -> {gives}"


def _shown(tensor: Tensor) -> str:
    return f"{tensor.name} {tensor.datatype}{'' if tensor.any_rank else list(tensor.shape)}"
