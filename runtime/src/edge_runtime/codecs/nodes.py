"""Writes the operators of codecs as ONNX nodes, at the edges of slices."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto, helper, numpy_helper

from edge_runtime.codecs.contracts import check_opset, codec_of
from edge_runtime.codecs.operators import CodecOperator, border
from edge_runtime.tensors import NUMPY_TYPES, Tensor


def encoder(tensor: Tensor, wire: str, codec: str, opset: int) -> Iterator[NodeProto]:
    """Yields the nodes that make the tensors on the hop from a tensor of the slice."""
    check_opset(codec, opset)
    found = codec_of(codec)
    assert found is not None, "only tensors that a codec changes have an encoder"
    yield _node(border(tensor.name, f"{wire}.value"))
    yield from map(_node, found.encoder(tensor, f"{wire}.value", wire, opset))


def decoder(tensor: Tensor, wire: str, codec: str, opset: int) -> Iterator[NodeProto]:
    """Yields the nodes that make a tensor of the slice from the tensors on the hop."""
    check_opset(codec, opset)
    found = codec_of(codec)
    assert found is not None, "only tensors that a codec changes have a decoder"
    last = wire
    for operator in found.decoder(tensor, wire):
        yield _node(operator)
        last = operator.output
    yield _node(border(last, tensor.name))


def _node(operator: CodecOperator) -> NodeProto:
    if operator.value is not None:
        return helper.make_node(
            "Constant", [], [operator.output], value=numpy_helper.from_array(operator.value)
        )
    attributes = dict(operator.attributes)
    if operator.to is not None:
        attributes["to"] = helper.np_dtype_to_tensor_dtype(NUMPY_TYPES[operator.to])
    made = helper.make_node(operator.kind, operator.inputs, [operator.output])
    made.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
    return made
