"""Writes a slice as a model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from edge_runtime.codecs.contracts import FP32, is_encoded, wire_name, wire_tensors
from edge_runtime.codecs.nodes import decoder, encoder
from edge_runtime.errors import TooLarge
from edge_runtime.graph_analysis.weight_stripping import varint
from edge_runtime.slicing.checking import MIN_IR
from edge_runtime.slicing.pieces import Piece, Source, size_of
from edge_runtime.slicing.reading import functions_of
from edge_runtime.slicing.shapes import Known, value_info
from edge_runtime.slicing.tensordata import is_outside, place_of
from edge_runtime.tensors import Tensor

_OPSET: Final = 17
_MOST: Final = (1 << 31) - 1  # bytes of a protobuf message
_AMPLIFIES: Final = "DynamicQuantizeLinear"
"""Operator that makes steps of a range out of rounding: without the file's declarations, onnxruntime fuses
other operators than in the file, and results differ by percents."""
# Numbers of fields and of a wire type in onnx.proto.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class SliceParts:
    """The parts of a slice: operators by index, the tensors at its ends and their codecs.

    kept: further outputs, which are not encoded.
    """

    operators: tuple[int, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    decode: str
    encode: str
    kept: tuple[Tensor, ...] = ()

    def decoded(self) -> list[Tensor]:
        """Inputs that arrive encoded and must be decoded."""
        return [t for t in self.inputs if is_encoded(t, self.decode)]

    def encoded(self) -> list[Tensor]:
        """Outputs that must be encoded; without those that arrive encoded and are forwarded."""
        through = self.inputs if self.decode == self.encode else ()
        return [t for t in self.outputs if is_encoded(t, self.encode) and t not in through]

    def staying(self) -> list[Tensor]:
        """Kept outputs that are not sent as they are."""
        return [t for t in self.kept if t not in self.outputs or is_encoded(t, self.encode)]

    def has_codec(self) -> bool:
        """Whether the slice encodes or decodes any tensor, as opposed to forwarding it."""
        same = self.decode == self.encode and set(self.inputs) == set(self.outputs)
        return not same and bool(self.decoded() or self.encoded())


def write(
    model: ModelProto,
    part: SliceParts,
    needed: Collection[str],
    taken: Collection[str],
    known: Mapping[str, Known],
    files: Mapping[str, Source],
) -> list[Piece]:
    """The file of a slice: operators in their order, and the constants among the `needed` tensors.

    Open dimensions of its ends share a name only if they are `known` to be equal: onnxruntime trusts names,
    and fails if two dimensions of one name differ. A slice that quantizes activations while it runs has the
    names that the file declares inside, too. files: those with large initializers, by digest. Raises
    BadRequest if the opset lacks a codec's operators, and TooLarge beyond protobuf's limit.
    """
    source = model.graph
    sliced = ModelProto(ir_version=max(model.ir_version, MIN_IR), producer_name="edge-runtime")
    sliced.opset_import.extend(model.opset_import)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if not opset and part.has_codec():
        opset = _OPSET
        sliced.opset_import.add(domain="", version=opset)
    sliced.graph.name = source.name or "slice"
    own = [source.node[i] for i in part.operators]
    sliced.functions.extend(functions_of(model, own))
    sliced.graph.node.extend(_decoders(part, taken, opset))
    sliced.graph.node.extend(own)
    sliced.graph.node.extend(_encoders(part, taken, opset))
    for node in sliced.graph.node:
        node.ClearField("doc_string")
    initializers = [i for i in source.initializer if i.name in needed]
    sliced.graph.sparse_initializer.extend(i for i in source.sparse_initializer if i.values.name in needed)
    sliced.graph.input.extend(_ends(part.inputs, part.decode, taken, known))
    sliced.graph.output.extend(_ends(part.outputs, part.encode, taken, known))
    sliced.graph.output.extend(_ends(part.staying(), FP32, taken, known))
    if any(node.op_type == _AMPLIFIES for node in own):
        sliced.graph.value_info.extend(_declared(source, sliced.graph, known))
    made = _serialized(sliced, [_initializer(i, files) for i in initializers])
    if size_of(made) > _MOST:
        raise TooLarge(
            f"a slice of {len(own)} operators has {size_of(made)} bytes, and an ONNX file at most {_MOST}: "
            "cut it smaller"
        )
    return made


def _serialized(model: ModelProto, initializers: Iterable[list[Piece]]) -> list[Piece]:
    """A model's file with these initializers, its fields ordered by number as protobuf writes them."""
    graph, after = GraphProto(), GraphProto()
    graph.CopyFrom(model.graph)
    for field in ("sparse_initializer", "input", "output", "value_info"):
        getattr(after, field).extend(getattr(graph, field))
        graph.ClearField(field)
    pieces = [
        _bytes_of(graph),
        *(piece for parts in initializers for piece in _field(_INITIALIZER, parts)),
        _bytes_of(after),
    ]
    last = ModelProto(opset_import=model.opset_import, functions=model.functions)
    first = ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    return [_bytes_of(first), *_field(_GRAPH, pieces), _bytes_of(last)]


def _initializer(tensor: TensorProto, files: Mapping[str, Source]) -> list[Piece]:
    if not is_outside(tensor):
        return [_bytes_of(tensor)]
    place = place_of(tensor, files)
    first, last = TensorProto(), TensorProto(doc_string=tensor.doc_string)
    first.CopyFrom(tensor)
    last.metadata_props.extend(tensor.metadata_props)
    for field in ("external_data", "data_location", "doc_string", "metadata_props"):
        first.ClearField(field)
    if not tensor.HasField("doc_string"):
        last.ClearField("doc_string")
    return [_bytes_of(first), *_field(_RAW_DATA, [place]), _bytes_of(last)]


def _field(number: int, content: Sequence[Piece]) -> list[Piece]:
    return [varint(number << 3 | _BYTES) + varint(size_of(content)), *content]


def _bytes_of(message: ModelProto | GraphProto | TensorProto) -> bytes:
    found: bytes = message.SerializeToString(deterministic=True)
    return found


def _ends(
    tensors: Sequence[Tensor], codec: str, taken: Collection[str], known: Mapping[str, Known]
) -> Iterator[ValueInfoProto]:
    for tensor in tensors:
        for wire in wire_tensors((tensor,), codec, taken):
            yield value_info(wire, known[tensor.name].dimensions)


def _declared(source: GraphProto, sliced: GraphProto, known: Mapping[str, Known]) -> Iterator[ValueInfoProto]:
    """The file's declarations of tensors inside of a slice that contradict nothing that is known of them."""
    ends = {each.name for each in (*sliced.input, *sliced.output)}
    made = {name for node in sliced.node for name in node.output} - ends
    for value in source.value_info:
        if value.name in made and _agrees(value, known.get(value.name)):
            yield value


def _agrees(value: ValueInfoProto, known: Known | None) -> bool:
    """Whether a declaration has no size for a dimension that is open, and no other rank."""
    dims = value.type.tensor_type.shape.dim
    return known is None or (
        len(dims) == len(known.dimensions)
        and all(
            not dim.HasField("dim_value") or dim.dim_value == size
            for dim, size in zip(dims, known.dimensions, strict=True)
        )
    )


def _decoders(part: SliceParts, taken: Collection[str], opset: int) -> Iterator[NodeProto]:
    for tensor in part.decoded():
        yield from decoder(tensor, wire_name(tensor.name, part.decode, taken), part.decode, opset)


def _encoders(part: SliceParts, taken: Collection[str], opset: int) -> Iterator[NodeProto]:
    for tensor in part.encoded():
        yield from encoder(tensor, wire_name(tensor.name, part.encode, taken), part.encode, opset)
