"""Reading an ONNX file: the one module that knows ONNX.

    read_model(data, name="digits") -> Model, with its Graph, its exits and the cuts on the way to each

Weights need not be there: only their shapes are looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto
from onnx.checker import ValidationError
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import InferenceError

from edge_planning.errors import BadValueError, require
from edge_planning.graphs.assembling import assemble
from edge_planning.graphs.exits import EXITS_KEY, ExitDocument, read_exits
from edge_planning.graphs.operations import UNKNOWN, Attribute, Network, Operation, TensorType
from edge_planning.graphs.ordering import ordered
from edge_planning.graphs.values import Graph
from edge_planning.models import Model

OWN_DOMAINS = ("", "ai.onnx")
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
"""What protobuf and onnx raise, somewhere inside, for a file that they parsed but that makes no sense."""
STANDALONE = 4
"""The version of the format since which initializers need not be inputs as well."""
SMALL = 1024
"""Elements up to which a constant's values are looked at: shapes are that small, weights are not."""

KNOWN_TYPES = frozenset(TensorProto.DataType.keys())
BITS: Mapping[int, int] = {
    TensorProto.DataType.Value(name): bits
    for bits, names in {
        2: "INT2 UINT2",
        4: "INT4 UINT4 FLOAT4E2M1",
        8: "BOOL INT8 UINT8 FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ FLOAT8E8M0",
        16: "INT16 UINT16 FLOAT16 BFLOAT16",
        32: "INT32 UINT32 FLOAT",
        64: "INT64 UINT64 DOUBLE COMPLEX64",
        128: "COMPLEX128",
    }.items()
    for name in names.split()
    if name in KNOWN_TYPES
}

_ARITHMETIC = """
    Abs Add And Cast Ceil Concat Constant Div Equal Flatten Floor Gather Greater GreaterOrEqual Identity Less
    LessOrEqual Max Min Mod Mul Neg Not Or Pow ReduceMax ReduceMin ReduceProd ReduceSum Reshape Round Shape
    Size Slice Split Sqrt Squeeze Sub Transpose Unsqueeze Where
"""
ARITHMETIC = frozenset(_ARITHMETIC.split())
"""Operators that exporters compute shapes with; none makes much more than it is given."""


def read_model(
    data: bytes | ModelProto,
    *,
    name: str,
    exits: Sequence[ExitDocument] | None = None,
    bounds: Mapping[str, int] | None = None,
) -> Model:
    """A model with its graph, its exits, and the cuts of one tensor on the way to each exit.

    exits: {"name", "output", "accuracy"} each, by depth; by default the file's own (its metadata
    `edge.exits`, a JSON list of the same form), else every output, with a warning. bounds: sizes of the
    dimensions that the file leaves open, by their names. Raises BadValueError as read_graph does, and for
    exits that are not exits of this model.
    """
    model = _parsed(data, name)
    graph = _graph(model, name, bounds or {})
    stated = next((entry.value for entry in model.metadata_props if entry.key == EXITS_KEY), None)
    return read_exits(graph, exits, stated)


def read_graph(data: bytes | ModelProto, *, name: str, bounds: Mapping[str, int] | None = None) -> Graph:
    """The graph of an ONNX model, for a batch of one.

    An open first dimension of an input is the batch and becomes 1; others become what `bounds` says by their
    names. What cannot be planned (control flow, an operator that ONNX does not have, a shape that is open or
    not known) becomes part of an opaque layer, with a sentence in the graph's warnings. Raises BadValueError
    for what is no ONNX file, for a graph that is cyclic or reads what nothing makes, and for bad bounds.
    """
    return _graph(_parsed(data, name), name, bounds or {})


def _parsed(data: bytes | ModelProto, name: str) -> ModelProto:
    if isinstance(data, ModelProto):
        model = data
    else:
        try:
            model = onnx.load_model_from_string(data)
        except (DecodeError, TypeError, ValueError) as error:
            raise BadValueError(f"model {name}: {len(data)} bytes that are not an ONNX file") from error
    require(bool(model.graph.output), f"model {name}: not an ONNX file with a graph: it has no outputs")
    if model.functions:
        try:
            return inline_local_functions(model)
        except (ValidationError, RuntimeError, ValueError) as error:
            raise BadValueError(f"model {name}: functions that cannot be inlined: {error}") from error
    return model


def _graph(model: ModelProto, name: str, bounds: Mapping[str, int]) -> Graph:
    for dimension, size in bounds.items():
        require(size >= 1, f"model {name}: the bound {dimension} = {size} is not above 0")
    try:
        return assemble(_network(model, name, bounds))
    except BadValueError:
        raise
    except MALFORMED as error:
        raise BadValueError(f"model {name}: invalid: {str(error) or type(error).__name__}") from error


def _network(model: ModelProto, name: str, bounds: Mapping[str, int]) -> Network:
    lean, weights = _lean(model, name, bounds)
    inputs = tuple(value.name for value in model.graph.input if value.name not in weights)
    lean, warnings = _inferred(lean)
    types = _types(lean.graph) | weights
    # Only while something is open is it worth computing shapes as exporters write them.
    while _open(lean.graph, types) and _computed(lean.graph, types):
        lean, warnings = _inferred(lean)
        types = _types(lean.graph) | weights
    return Network(
        name,
        inputs,
        tuple(value.name for value in lean.graph.output),
        tuple(_operations(lean.graph)),
        frozenset({*weights, *(tensor.name for tensor in lean.graph.initializer)}),
        types,
        warnings,
    )


# --- the file without its weights ---


def _lean(
    model: ModelProto, name: str, bounds: Mapping[str, int]
) -> tuple[ModelProto, dict[str, TensorType]]:
    """A copy with sizes for open dimensions, nodes in order and no values of weights; the weights' types.

    Weights are inputs of the copy: shape inference needs no more of them.
    """
    graph = model.graph
    lean = ModelProto(ir_version=max(model.ir_version, STANDALONE))
    lean.opset_import.extend(model.opset_import)
    if not model.opset_import:
        lean.opset_import.add(domain="", version=1)
    weights: dict[str, TensorType] = {}
    for tensor in graph.initializer:
        weights[tensor.name] = _keep(lean.graph, tensor, tensor.name)
    for sparse in graph.sparse_initializer:
        weights[sparse.values.name] = TensorType(tuple(sparse.dims), BITS.get(sparse.values.data_type))
    nodes = []
    for node in graph.node:
        value = _large_constant(node)
        if value is None:
            nodes.append(node)
        else:
            weights[node.output[0]] = _keep(lean.graph, value, node.output[0])
    inputs = [value for value in graph.input if value.name not in weights]
    sizes = _sizes(inputs, bounds)
    lean.graph.name = graph.name or name
    lean.graph.input.extend(_sized(value, sizes, batch=True) for value in inputs)
    lean.graph.output.extend(_sized(value, sizes) for value in graph.output)
    lean.graph.value_info.extend(_sized(value, sizes) for value in graph.value_info)
    outside = [value.name for value in inputs] + list(weights)
    reads = [tuple(node.input) + _captured(node) for node in nodes]
    order = ordered(
        name,
        outside,
        [_name(node) for node in nodes],
        [[tensor for tensor in dict.fromkeys(read) if tensor] for read in reads],
        [[tensor for tensor in node.output if tensor] for node in nodes],
        [value.name for value in graph.output],
    )
    lean.graph.node.extend(nodes[number] for number in order)
    return lean, weights


def _keep(graph: GraphProto, tensor: TensorProto, name: str) -> TensorType:
    """Adds a weight to the lean graph, with its values only when it is small; answers its type."""
    external = tensor.data_location == TensorProto.EXTERNAL
    if prod(tensor.dims) <= SMALL and not external:
        small = graph.initializer.add()
        small.CopyFrom(tensor)
        small.name = name
    else:
        graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    return TensorType(tuple(tensor.dims), BITS.get(tensor.data_type))


def _large_constant(node: NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or node.domain not in OWN_DOMAINS or len(node.output) != 1:
        return None
    for attribute in node.attribute:
        if attribute.name == "value" and prod(attribute.t.dims) > SMALL:
            tensor: TensorProto = attribute.t
            return tensor
    return None


def _sizes(inputs: Iterable[ValueInfoProto], bounds: Mapping[str, int]) -> dict[str, int]:
    """Sizes by the names of dimensions: the bounds, and 1 for the name of a first dimension."""
    sizes = dict(bounds)
    for value in inputs:
        for dimension in value.type.tensor_type.shape.dim[:1]:
            if dimension.dim_param:
                sizes.setdefault(dimension.dim_param, 1)
    return sizes


def _sized(value: ValueInfoProto, sizes: Mapping[str, int], batch: bool = False) -> ValueInfoProto:
    """A copy with sizes for the dimensions whose names are known, and for an unnamed batch."""
    copy = ValueInfoProto()
    copy.CopyFrom(value)
    if copy.type.HasField("tensor_type"):
        for axis, dimension in enumerate(copy.type.tensor_type.shape.dim):
            if dimension.dim_param in sizes:
                dimension.dim_value = sizes[dimension.dim_param]
            elif dimension.dim_value < 0 or (batch and dimension.dim_value == 0):
                dimension.Clear()
            if batch and axis == 0 and not dimension.dim_param and dimension.dim_value == 0:
                dimension.dim_value = 1
    return copy


# --- types ---


def _inferred(lean: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    """The model with the shapes that follow; a warning where inference gave up."""
    try:
        return onnx.shape_inference.infer_shapes(lean, data_prop=True), ()
    except (InferenceError, ValidationError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        return lean, (f"shapes are not known beyond those that the file states: {reason}",)


def _types(graph: GraphProto) -> dict[str, TensorType]:
    types = {
        tensor.name: TensorType(tuple(tensor.dims), BITS.get(tensor.data_type))
        for tensor in graph.initializer
    }
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = _type(value.type)
    return types


def _type(proto: TypeProto) -> TensorType:
    if not proto.HasField("tensor_type"):
        return UNKNOWN
    tensor = proto.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            dimension.dim_value if dimension.HasField("dim_value") and dimension.dim_value >= 0 else None
            for dimension in tensor.shape.dim
        )
    return TensorType(shape, BITS.get(tensor.elem_type))


def _open(graph: GraphProto, types: Mapping[str, TensorType]) -> bool:
    return any(
        not types.get(tensor, UNKNOWN).known for node in graph.node for tensor in node.output if tensor
    )


def _computed(graph: GraphProto, types: Mapping[str, TensorType]) -> bool:
    """Replaces arithmetic on known shapes by its results, as constants; whether there were any."""
    values = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_location != TensorProto.EXTERNAL and prod(tensor.dims) <= SMALL
    }
    kept, found = [], False
    for node in graph.node:
        results = _results(node, values, types)
        if results is None:
            kept.append(node)
            continue
        for tensor, value in zip(node.output, results, strict=False):
            values[tensor] = value
            graph.initializer.append(onnx.numpy_helper.from_array(value, tensor))
        found = True
    if found:
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(nodes)
    return found


def _results(
    node: NodeProto, values: Mapping[str, np.ndarray], types: Mapping[str, TensorType]
) -> list[np.ndarray] | None:
    """What a node computes, as far as that is small and known."""
    if node.op_type not in ARITHMETIC or node.domain not in OWN_DOMAINS:
        return None
    given: dict[str, np.ndarray] = {name: values[name] for name in node.input if name in values}
    if node.op_type in ("Shape", "Size"):
        kind = types.get(node.input[0], UNKNOWN)
        if not kind.known:
            return None
        given = {node.input[0]: np.broadcast_to(np.False_, kind.counted_shape())}
    if any(name and name not in given for name in node.input):
        return None
    try:
        results = list(ReferenceEvaluator(node).run(None, given))
    except (
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        NotImplementedError,
    ):
        return None
    return results if all(isinstance(r, np.ndarray) and r.size <= SMALL for r in results) else None


# --- nodes ---


def _operations(graph: GraphProto) -> Iterable[Operation]:
    taken: set[str] = set()
    for node in graph.node:
        name = _name(node)
        if name in taken:
            name = f"{name}:{node.output[0]}"
        taken.add(name)
        own = node.domain in OWN_DOMAINS
        bodies = list(_bodies(node))
        obstacle = ""
        if bodies:
            obstacle = f"{node.op_type} is control flow, with a graph of its own"
        elif not onnx.defs.has(node.op_type, "" if own else node.domain):
            obstacle = f"{node.op_type} of the domain {node.domain or 'ai.onnx'} is no operator of ONNX"
        yield Operation(
            name,
            node.op_type if own else f"{node.domain}.{node.op_type}",
            tuple(node.input),
            tuple(tensor for tensor in node.output if tensor),
            dict(_attributes(node)),
            _captured(node),
            sum(_weight_bytes(body) for body in bodies),
            obstacle,
        )


def _name(node: NodeProto) -> str:
    return node.name or next((tensor for tensor in node.output if tensor), node.op_type)


def _attributes(node: NodeProto) -> Iterable[tuple[str, Attribute]]:
    for attribute in node.attribute:
        match attribute.type:
            case AttributeProto.INT:
                yield attribute.name, attribute.i
            case AttributeProto.FLOAT:
                yield attribute.name, attribute.f
            case AttributeProto.STRING:
                yield attribute.name, attribute.s.decode(errors="replace")
            case AttributeProto.INTS:
                yield attribute.name, tuple(attribute.ints)
            case AttributeProto.FLOATS:
                yield attribute.name, tuple(attribute.floats)


def _bodies(node: NodeProto) -> Iterable[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _captured(node: NodeProto) -> tuple[str, ...]:
    """Tensors from outside that the node's graphs read."""
    return tuple(dict.fromkeys(name for body in _bodies(node) for name in _outside(body)))


def _outside(body: GraphProto) -> Iterable[str]:
    own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    for node in body.node:
        yield from (name for name in (*node.input, *_captured(node)) if name and name not in own)
        own.update(node.output)
    yield from (value.name for value in body.output if value.name not in own)


def _weight_bytes(body: GraphProto) -> int:
    tensors = [
        *body.initializer,
        *(value for node in body.node if (value := _large_constant(node)) is not None),
    ]
    own = sum(TensorType(tuple(tensor.dims), BITS.get(tensor.data_type)).size() for tensor in tensors)
    return own + sum(_weight_bytes(inner) for node in body.node for inner in _bodies(node))
