"""Derives the proven properties of a model from its bytes, without running it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from mmap import mmap
from pathlib import Path
from typing import Final

from onnx import ModelProto, TensorProto, ValueInfoProto

from edge_runtime.graph_analysis.nodes import everywhere, is_random
from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.graph_analysis.reading import AnalyzedModel, Operator, Unreadable, constant, standard
from edge_runtime.graph_analysis.rules.registry import CLASSICAL, MICROSOFT, TABLE, Result, Step
from edge_runtime.graph_analysis.sizes import ROWS, Size, Unknowns
from edge_runtime.graph_analysis.values import Mixes, Value

from edge_runtime.graph_analysis import rules  # noqa: F401 # isort: skip - fills the table

# The rules were written against these versions of the standard.
_OLDEST: Final = 7
_NEWEST: Final = 28
# The most common onnxruntime operators that have no rule.
_REPEATABLE: Final = frozenset(
    [
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "GatherBlockQuantized",
        "GroupNorm",
        "GroupQueryAttention",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "NhwcMaxPool",
        "QAttention",
        "QEmbedLayerNormalization",
        "RotaryEmbedding",
    ]
)
# Outputs that are measurements: floats, and the bytes of quantized networks and codecs.
_MEASURES: Final = (
    *(TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16),
    *(TensorProto.INT8, TensorProto.UINT8),
)
_NOTHING: Final = Size(0)
_KNOWN_DOMAINS: Final = frozenset(["", CLASSICAL])


def proven_of(model: bytes | mmap | Path) -> ProvenProperties:
    """Proven properties of a model or a slice. Data outside the file is not read."""
    try:
        if isinstance(model, Path):
            with model.open("rb") as file:
                return _proven(AnalyzedModel(file, model.stat().st_size))
        if isinstance(model, mmap):  # can be read like a file without a copy
            model.seek(0)
            return _proven(AnalyzedModel(model, len(model)))
        return _proven(AnalyzedModel(BytesIO(model), len(model)))
    except (Unreadable, OSError) as error:
        return ProvenProperties(str(error), str(error))


def _proven(model: AnalyzedModel) -> ProvenProperties:
    try:
        alone = _alone(model)
    except RecursionError:
        alone = "its graph is nested too deeply"
    return ProvenProperties(alone, unrepeatable(model.proto))


def unrepeatable(model: ModelProto) -> str:
    """Why a model might give other outputs for the same inputs; empty if it does not."""
    own = {(standard(f.domain), f.name) for f in model.functions}
    for node in everywhere([*model.graph.node, *(n for f in model.functions for n in f.node)]):
        operator = Operator(node)
        key = operator.domain, operator.kind
        if key in own:
            continue
        if operator.domain in _KNOWN_DOMAINS:
            if is_random(node):
                return f"{operator.title} draws random numbers"
        elif key not in TABLE and (operator.domain != MICROSOFT or operator.kind not in _REPEATABLE):
            return f"{operator.title} is not known to be repeatable"
    return ""


def _alone(model: AnalyzedModel) -> str:
    version = model.versions.get("", _OLDEST)
    if not _OLDEST <= version <= _NEWEST:
        return f"its opset {version} is outside the supported range {_OLDEST} to {_NEWEST}"
    try:
        known = tensors(model)
    except Mixes as error:
        return str(error)
    return next((reason for o in model.proto.graph.output if (reason := _apart(o, known))), "")


def tensors(model: AnalyzedModel) -> Mapping[str, Result]:
    """What is known of every tensor, or why its rows are mixed. Raises Mixes for inputs without rows."""
    unknowns = Unknowns()
    graph = model.proto.graph
    known: dict[str, Result] = {i.name: constant(i, unknowns) for i in graph.initializer}
    for sparse in graph.sparse_initializer:
        known[sparse.values.name] = Value(tuple(Size(d) for d in sparse.dims))
    for value in graph.input:
        if value.name not in known:
            known[value.name] = _input(value, unknowns)
    for operator in model.operators:
        known.update(zip(operator.node.output, _outputs(operator, known, unknowns), strict=False))
    return known


def _input(value: ValueInfoProto, unknowns: Unknowns) -> Value:
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type":
        raise Mixes(f"input {value.name} is not a tensor")
    if tensor.elem_type == TensorProto.STRING:
        raise Mixes(f"input {value.name} contains strings")
    dims = tensor.shape.dim
    if not tensor.HasField("shape") or not dims:
        raise Mixes(f"input {value.name} has no batch dimension")
    sizes = [d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None for d in dims]
    if sizes[0] is not None:
        raise Mixes(f"the first dimension of input {value.name} is fixed to {sizes[0]}")
    return Value((ROWS, *unknowns.shape(sizes[1:])), 0)


def _outputs(operator: Operator, known: dict[str, Result], unknowns: Unknowns) -> Sequence[Result]:
    names = operator.node.output
    inputs: list[Value | None] = []
    for name in operator.node.input:
        found = known.get(name, Mixes(f'tensor "{name}" is read before it is computed')) if name else None
        if isinstance(found, Mixes):
            return [found] * len(names)
        inputs.append(found)
    entry = TABLE.get((operator.domain, operator.kind))
    try:
        if entry is None:
            raise Mixes("not known to keep rows separate")
        if not entry.counting and any(v is not None and v.counts for v in inputs):
            raise Mixes("reads the number of rows")
        made = list(entry.apply(Step(operator, inputs, unknowns)))
    except Mixes as error:
        return [Mixes(f"{operator.title}: {error}")] * len(names)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError):
        return [Mixes(f"{operator.title}: its inputs or attributes are invalid")] * len(names)
    made += [Mixes("its last outputs have no rule")] * (len(names) - len(made))
    # Reductions of empty tensors have other shapes in onnxruntime.
    if any(isinstance(m, Value) and m.elements is None and _NOTHING in m.shape for m in made):
        return [Mixes(f"{operator.title}: creates a tensor without elements")] * len(names)
    exact = entry.exact and all(v is None or v.exact for v in inputs)
    return [
        Mixes(f"{operator.title}: {m}")
        if isinstance(m, Mixes)
        else replace(m, exact=exact or m.axis is None)  # values common to all runs are computed alike
        for m in made
    ]


def _apart(output: ValueInfoProto, known: Mapping[str, Result]) -> str:
    found = known.get(output.name, Mixes(f"output {output.name} is not computed"))
    if isinstance(found, Mixes):
        return str(found)
    if found.axis != 0 or found.shape[0] != ROWS:
        return f"output {output.name} does not have one row for each row of the inputs"
    if not found.exact and output.type.tensor_type.elem_type not in _MEASURES:
        return f"output {output.name} has integers computed from sums that depend on the number of rows"
    return ""
