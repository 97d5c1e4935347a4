"""Triton's model configuration extension: what a config.pbtxt would say of a served model."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final

from edge_planning.routing.batches import DEFAULT_PRIORITY, LARGEST, PRIORITIES
from edge_runtime.json_values import Json
from edge_runtime.protocol.classification import batches
from edge_runtime.protocol.contents import LARGEST_REQUEST
from edge_runtime.requests import MOST_WAITING
from edge_runtime.tensors import Contract, Tensor, width

_MOST_ROWS: Final = (1 << 31) - 1
_BACKENDS: Final = {"onnxruntime_onnx": "onnxruntime"}


def configuration(name: str, platform: str, contract: Contract) -> dict[str, Json]:
    """The configuration of a model, with the fields and the order of Triton's JSON.

    `max_batch_size` is the number of rows that fit into one request, or 0 if a tensor has no batch.
    """
    batched = batches(contract)
    found: dict[str, Json] = {
        "name": name,
        "platform": platform,
        "backend": _BACKENDS.get(platform, platform),
        "runtime": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": _most_rows(contract.inputs) if batched else 0,
        "input": [_input(tensor, batched=batched) for tensor in contract.inputs],
        "output": [_output(tensor, batched=batched) for tensor in contract.outputs],
        "batch_input": [],
        "batch_output": [],
        "optimization": {
            "priority": "PRIORITY_DEFAULT",
            "input_pinned_memory": {"enable": False},
            "output_pinned_memory": {"enable": False},
            "gather_kernel_buffer_threshold": 0,
            "eager_batching": False,
        },
    }
    if batched:
        found["dynamic_batching"] = _dynamic_batching()
    return found | {
        "instance_group": [
            {
                "name": f"{name}_0",
                "kind": "KIND_CPU",
                "count": 1,
                "gpus": [],
                "secondary_devices": [],
                "profile": [],
                "passive": False,
                "host_policy": "",
            }
        ],
        "default_model_filename": "model.onnx" if platform in _BACKENDS else "",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {},
        "model_warmup": [],
    }


def _most_rows(inputs: Sequence[Tensor]) -> int:
    row = sum(prod(1 if d < 0 else d for d in t.shape[1:]) * width(t.datatype) for t in inputs)
    return max(1, min(LARGEST_REQUEST // row if row else _MOST_ROWS, _MOST_ROWS))


def _input(tensor: Tensor, *, batched: bool) -> dict[str, Json]:
    flags: dict[str, Json] = {"is_shape_tensor": False, "allow_ragged_batch": False, "optional": False}
    return (
        _described(tensor, {"format": "FORMAT_NONE"}, batched=batched)
        | flags
        | {"is_non_linear_format_io": False}
    )


def _output(tensor: Tensor, *, batched: bool) -> dict[str, Json]:
    flags: dict[str, Json] = {"label_filename": "", "is_shape_tensor": False}
    return _described(tensor, {}, batched=batched) | flags | {"is_non_linear_format_io": False}


def _described(tensor: Tensor, more: dict[str, Json], *, batched: bool) -> dict[str, Json]:
    datatype = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    dims = list(tensor.shape[1:] if batched else tensor.shape)
    found: dict[str, Json] = {
        "name": tensor.name,
        "data_type": f"TYPE_{datatype}",
        **more,
        "dims": dims or [1],
    }
    # In a configuration, a scalar is one value that is reshaped to no dimensions.
    return found if dims else found | {"reshape": {"shape": []}}


def _dynamic_batching() -> dict[str, Json]:
    """How requests wait and share runs."""
    return {
        "preferred_batch_size": [LARGEST],
        "max_queue_delay_microseconds": 0,
        "preserve_ordering": False,
        "priority_levels": PRIORITIES,
        "default_priority_level": DEFAULT_PRIORITY,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": 0,
            "allow_timeout_override": True,
            "max_queue_size": MOST_WAITING,
        },
        "priority_queue_policy": {},
    }
