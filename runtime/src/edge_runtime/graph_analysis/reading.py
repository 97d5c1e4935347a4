"""Reads a model for the analysis: operators in topological order, and small constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, inliner, numpy_helper

from edge_runtime.errors import EdgeError
from edge_runtime.graph_analysis.sizes import Size, Unknowns, count
from edge_runtime.graph_analysis.values import Value
from edge_runtime.graph_analysis.weight_stripping import Readable, without_weights

STRING: Final = TensorProto.STRING
_NUMBERS: Final = 64  # maximum elements of an inspected tensor: shapes, axes, scales
_HUGE: Final = 1 << 62
_DATA: Final = (
    "raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data",
)  # fmt: skip


class Unreadable(EdgeError):  # noqa: N818 - named by the reason, as in errors.py
    """The bytes are not a model that can be analyzed; the message says why."""


@dataclass(frozen=True)
class Operator:
    """A node, with the `version` of its domain's operators that the model imports."""

    node: NodeProto
    version: int = 0

    @property
    def kind(self) -> str:
        """Type of the operator."""
        return self.node.op_type

    @property
    def domain(self) -> str:
        """Domain of the operator; empty for the standard's own."""
        return standard(self.node.domain)

    @property
    def title(self) -> str:
        """The operator in messages."""
        name = self.node.name or next((o for o in self.node.output if o), "")
        domain = f"{self.domain}." if self.domain else ""
        return f'operator {domain}{self.kind} "{name}"'

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes by name; None for one whose value is not inspected."""
        return {a.name: _attribute(a) for a in self.node.attribute}


class AnalyzedModel:
    """A model without its large constants, with its functions inlined."""

    def __init__(self, file: Readable, size: int) -> None:
        """Raises Unreadable."""
        try:
            model = onnx.load_model_from_string(without_weights(file, size))
            if model.functions:
                model = inliner.inline_local_functions(model)
        except Exception as error:  # protobuf and the inliner raise classes of their own
            raise Unreadable(f"its graph cannot be read: {_first_line(error)}") from error
        if not model.graph.node:
            raise Unreadable("its graph cannot be read: it has no operators")
        self.proto: ModelProto = model
        self.versions = {standard(o.domain): o.version for o in model.opset_import}

    @property
    def operators(self) -> list[Operator]:
        """Operators of the main graph in topological order, whatever the order in the file."""
        nodes = self.proto.graph.node
        maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
        before = {i: {maker[n] for n in node.input if n in maker} for i, node in enumerate(nodes)}
        try:
            order = list(TopologicalSorter(before).static_order())
        except CycleError as error:
            raise Unreadable("its graph has a cycle") from error
        return [Operator(nodes[i], self.versions.get(standard(nodes[i].domain), 0)) for i in order]


def standard(domain: str) -> str:
    """The domain, with the empty string for the standard's own."""
    return "" if domain == "ai.onnx" else domain


def constant(tensor: TensorProto, unknowns: Unknowns) -> Value:
    """An initializer or constant; its elements are known if they are few and were not stripped."""
    shape = tuple(Size(d) for d in tensor.dims)
    number = count(shape)
    if number is None or number > _NUMBERS or tensor.data_type == STRING:
        return Value(shape)
    if number and not any(len(getattr(tensor, field)) for field in _DATA):
        return Value(shape)
    try:
        array = numpy_helper.to_array(tensor)
    except Exception:  # a datatype that NumPy lacks, or data that does not match the shape
        return Value(shape)
    return numbers(array, unknowns)


def numbers(array: np.ndarray[Any, np.dtype[Any]], unknowns: Unknowns) -> Value:
    """A small array; fractions are unknown numbers."""
    if array.dtype.kind not in "biuf" or array.size > _NUMBERS:
        return Value(tuple(Size(d) for d in array.shape))
    flat = array.astype(np.float64 if array.dtype.kind == "f" else object).ravel().tolist()
    elements = tuple(Size(int(v)) if _whole(v) else unknowns.fresh(signed=True) for v in flat)
    return Value(tuple(Size(d) for d in array.shape), None, elements)


def _whole(value: float) -> bool:
    return abs(value) < _HUGE and int(value) == value  # False for NaN


def _attribute(attribute: AttributeProto) -> Any:  # noqa: ANN401
    if attribute.type == AttributeProto.UNDEFINED or attribute.ref_attr_name:
        return None
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:200]
