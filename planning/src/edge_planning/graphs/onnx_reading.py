"""Reads an ONNX file. Only this module and onnx_types depend on ONNX.

    read_model(data, name="digits") -> Model, with its Graph, its exits and their cuts
    read_model(data, name="detector", shapes={"images": (1, 3, 640, 640)}) -> the same, for this shape

External weights are not required: only their shapes are read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.checker import ValidationError
from onnx.inliner import inline_local_functions

from edge_planning.declared_exits import EXITS_KEY
from edge_planning.declared_inputs import INPUTS_KEY, BadInputError, parse_inputs
from edge_planning.errors import BadModelError, BadValueError, require
from edge_planning.graphs.assembling import assemble
from edge_planning.graphs.exits import ExitDocument, read_exits
from edge_planning.graphs.given_shapes import refusal, sizes_of
from edge_planning.graphs.models import Model
from edge_planning.graphs.onnx_types import BITS, OWN_DOMAINS, SMALL, open_dimensions, typed
from edge_planning.graphs.operations import Attribute, Operation, OperationGraph, TensorType
from edge_planning.graphs.ordering import ordered
from edge_planning.graphs.values import Graph
from edge_planning.request_shapes import Shape

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
"""Exceptions that protobuf and onnx raise for a file that they can parse but that is invalid."""
STANDALONE = 4
"""IR version from which initializers need not be inputs too."""


def read_model(
    data: bytes | ModelProto,
    *,
    name: str,
    exits: Sequence[ExitDocument] | None = None,
    bounds: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Model:
    """Returns a model with its graph, its exits, and the cuts of one tensor before each exit.

    `exits`: {"name", "output" or "outputs", "accuracy"} each, by depth. Default: the file's metadata
    `edge.exits` (a JSON list of the same form), otherwise one exit with all outputs, with a warning.
    `bounds`, `shapes`: As in read_graph; each dimension of an input that is neither fixed nor the batch needs
    a size. Default of `shapes`: the largest ones in the file's metadata `edge.inputs`.

    Raises:
        BadValueError: As in read_graph, for exits that are not exits of this model, and for an input with an
            open dimension without a size, with the shapes to pass.
    """
    model = _parsed(data, name)
    sizes = _sizes(model, name, bounds, _stated_shapes(model, name) if shapes is None else shapes)
    graph = _graph(model, name, sizes)
    for value in _inputs(model.graph):
        _require_size(name, value, sizes)
    stated = next((entry.value for entry in model.metadata_props if entry.key == EXITS_KEY), None)
    found = read_exits(graph, exits, stated)
    dynamic = any(
        axis and size for value in _inputs(model.graph) for axis, size in enumerate(open_dimensions(value))
    )
    return replace(found, shapes={n: graph.tensors[n].shape for n in graph.inputs}) if dynamic else found


def read_graph(
    data: bytes | ModelProto,
    *,
    name: str,
    bounds: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """Returns the graph of an ONNX model, for a batch of one.

    A symbolic first dimension of an input is the batch and is set to 1. Other symbolic dimensions take their
    size from `shapes`, which has the whole shape of inputs by name, or from `bounds`, which has sizes by the
    name of the dimension, or by tensor and axis (`image.2`) for those without a name. Parts that cannot
    be analyzed (control flow, operators that ONNX does not define, unknown shapes) become part of an opaque
    layer, with a message in the graph's warnings.

    Raises:
        BadValueError: The data is not an ONNX file, the graph has a cycle or reads a tensor without a
            producer, a bound is below 1, or a shape contradicts the file, a bound or another shape.
    """
    model = _parsed(data, name)
    return _graph(model, name, _sizes(model, name, bounds, shapes))


def _parsed(data: bytes | ModelProto, name: str) -> ModelProto:
    if isinstance(data, ModelProto):
        model = data
    else:
        try:
            model = onnx.load_model_from_string(data)
        except (DecodeError, TypeError, ValueError) as error:
            raise BadValueError(f"model {name}: {len(data)} bytes are not an ONNX file") from error
    require(bool(model.graph.output), f"model {name}: not an ONNX file with a graph: it has no outputs")
    if model.functions:
        try:
            return inline_local_functions(model)
        except (ValidationError, RuntimeError, ValueError) as error:
            raise BadValueError(f"model {name}: functions cannot be inlined: {error}") from error
    return model


def _require_size(name: str, value: ValueInfoProto, sizes: Mapping[str, int]) -> None:
    """Raises BadValueError for an input of unknown size, because the first cut needs its bytes."""
    where, kind = f"model {name}: input {value.name}", value.type.tensor_type
    require(kind.elem_type in BITS, f"{where} has elements without a fixed width, so its size is unknown")
    require(kind.HasField("shape"), f"{where} has no shape, so its size is unknown: export it with a shape")
    wanted = refusal(name, value.name, _dimensions(value), sizes)
    require(not wanted, wanted)


def _sizes(
    model: ModelProto,
    name: str,
    bounds: Mapping[str, int] | None,
    shapes: Mapping[str, Sequence[int]] | None,
) -> dict[str, int]:
    """Returns the size of each symbolic dimension that is given, by name."""
    given = dict(bounds or {})
    inputs = {value.name: _dimensions(value) for value in _inputs(model.graph)}
    for dimension, size in sizes_of(name, inputs, shapes or {}).items():
        require(
            given.setdefault(dimension, size) == size,
            f"model {name}: shapes give {dimension} as {size}, but bounds as {given[dimension]}: give one",
        )
    return given


def _stated_shapes(model: ModelProto, name: str) -> dict[str, Shape]:
    """Returns the shapes in the file's metadata, by input."""
    stated = next((entry.value for entry in model.metadata_props if entry.key == INPUTS_KEY), None)
    if stated is None:
        return {}
    inputs = {value.name: _dimensions(value) for value in _inputs(model.graph)}
    try:
        return {each.name: each.largest for each in parse_inputs(stated, inputs)}
    except BadInputError as error:
        raise BadModelError(f"model {name}: {error}") from error


def _dimensions(value: ValueInfoProto) -> list[int | str]:
    """Returns the size of each fixed dimension, and the name of each other one."""
    return [
        name or dimension.dim_value
        for name, dimension in zip(open_dimensions(value), value.type.tensor_type.shape.dim, strict=True)
    ]


def _graph(model: ModelProto, name: str, bounds: Mapping[str, int]) -> Graph:
    for dimension, size in bounds.items():
        require(size >= 1, f"model {name}: bound {dimension} = {size} must be >= 1")
    try:
        return assemble(_network(model, name, bounds))
    except BadValueError:
        raise
    except MALFORMED as error:
        raise BadValueError(f"model {name}: invalid: {str(error) or type(error).__name__}") from error


def _network(model: ModelProto, name: str, bounds: Mapping[str, int]) -> OperationGraph:
    inputs = _inputs(model.graph)
    lean, weights = _lean(model, name, inputs)
    read = typed(lean, weights, inputs, model.graph, bounds)
    return OperationGraph(
        name,
        tuple(value.name for value in inputs),
        tuple(dict.fromkeys(value.name for value in model.graph.output)),
        tuple(_operations(read.graph)),
        frozenset({*weights, *(tensor.name for tensor in read.graph.initializer)}),
        read.types,
        read.warnings,
        read.crossing,
    )


# --- the file without its weights ---


def _inputs(graph: GraphProto) -> list[ValueInfoProto]:
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {sparse.values.name for sparse in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in constants]


def _lean(
    model: ModelProto, name: str, inputs: Sequence[ValueInfoProto]
) -> tuple[ModelProto, dict[str, TensorType]]:
    """Returns a copy with ordered nodes, without values of weights and declarations, and the weights' types.

    Weights are inputs of the copy, because shape inference needs only their shapes. Inference would keep the
    file's declarations of inner tensors and outputs, even if they are wrong.
    """
    graph = model.graph
    lean = ModelProto(ir_version=max(model.ir_version, STANDALONE))
    lean.opset_import.extend(model.opset_import)
    if not model.opset_import:
        lean.opset_import.add(domain="", version=1)
    imported = {_plain(entry.domain) for entry in lean.opset_import}
    for domain in dict.fromkeys(_plain(node.domain) for node in _everywhere(graph)):
        if domain not in imported:
            lean.opset_import.add(domain=domain, version=_latest(domain))
    lean.graph.name = graph.name or name
    lean.graph.input.extend(inputs)
    weights: dict[str, TensorType] = {}
    for tensor in graph.initializer:
        weights[tensor.name] = _keep(lean.graph, tensor, tensor.name)
    for sparse in graph.sparse_initializer:
        called, kind, dims = sparse.values.name, sparse.values.data_type, sparse.dims
        lean.graph.input.append(onnx.helper.make_tensor_value_info(called, kind, dims))
        weights[called] = TensorType(tuple(dims), BITS.get(kind))
    nodes = []
    for node in graph.node:
        value = _large_constant(node)
        if value is None:
            nodes.append(node)
        else:
            weights[node.output[0]] = _keep(lean.graph, value, node.output[0])
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


def _everywhere(graph: GraphProto) -> Iterable[NodeProto]:
    for node in graph.node:
        yield node
        for body in _bodies(node):
            yield from _everywhere(body)


def _plain(domain: str) -> str:
    return "" if domain in OWN_DOMAINS else domain


def _latest(domain: str) -> int:
    """Returns the opset version of a file that imports none: the latest, as in onnxruntime."""
    known = (schema.since_version for schema in onnx.defs.get_all_schemas() if schema.domain == domain)
    return max(known, default=1)


def _keep(graph: GraphProto, tensor: TensorProto, name: str) -> TensorType:
    """Adds a weight to the lean graph, with its values only if it is small, and returns its type."""
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
            obstacle = f"{node.op_type} is control flow"
        elif not onnx.defs.has(node.op_type, "" if own else node.domain):
            obstacle = f"{node.op_type} of domain {node.domain or 'ai.onnx'} is not an ONNX operator"
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
    """Returns the outer tensors that the node's subgraphs read."""
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
