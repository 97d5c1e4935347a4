"""Builds a network as ONNX, layer by layer.

Parameters are ConstantOfShape: the files are small (a shape and one value for each), and still run in
onnxruntime. Each weight is one over its fan-in, so that activations neither vanish nor grow.
"""

from collections.abc import Sequence
from math import prod

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

OPSET = 18


class Net:
    """An ONNX graph under construction. Activations have names; `channels` has their second dimension."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[NodeProto] = []
        self.inputs: list[ValueInfoProto] = []
        self.outputs: list[ValueInfoProto] = []
        self.channels: dict[str, int] = {}

    def input(self, name: str, shape: Sequence[int | str | None], kind: int = TensorProto.FLOAT) -> str:
        """Adds an input; a name or None as a dimension makes it symbolic."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        if len(shape) > 1 and isinstance(shape[1], int):
            self.channels[name] = shape[1]
        return name

    def output(self, tensor: str, shape: Sequence[int | str | None], kind: int = TensorProto.FLOAT) -> None:
        """Makes a tensor an output of the graph."""
        self.outputs.append(helper.make_tensor_value_info(tensor, kind, shape))

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: object) -> str:
        """Adds a node with one output; its channels are those of its first input unless set later."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        node = helper.make_node(kind, inputs, [output], name=output)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in sorted(attributes.items()))
        self.nodes.append(node)
        if inputs and inputs[0] in self.channels:
            self.channels[output] = self.channels[inputs[0]]
        return output

    def constant(self, values: Sequence[int] | Sequence[float] | float, name: str = "") -> str:
        """Adds a small constant: int64 for integers, otherwise float32; a list is a vector."""
        flat = list(values) if isinstance(values, Sequence) else [values]
        kind = TensorProto.INT64 if all(isinstance(v, int) for v in flat) else TensorProto.FLOAT
        shape = [len(flat)] if isinstance(values, Sequence) else []
        name = name or f"constant_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node("Constant", [], [name], name, value=helper.make_tensor(name, kind, shape, flat))
        )
        return name

    def weight(self, name: str, shape: Sequence[int], value: float) -> str:
        """Adds a parameter of that shape with one value."""
        filled = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
        return self.node("ConstantOfShape", [self.constant(list(shape), f"{name}.shape")], name, value=filled)

    def convolution(
        self,
        tensor: str,
        filters: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        pad: int | tuple[int, int] = 0,
        group: int = 1,
        name: str = "",
    ) -> str:
        """Adds a Conv with a bias; batch normalization is folded into it, as exporters for inference do."""
        name = name or f"conv_{len(self.nodes)}"
        size = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        pads = pad if isinstance(pad, tuple) else (pad, pad)
        maps = self.channels[tensor] // group
        weight = self.weight(f"{name}.weight", (filters, maps, *size), 1 / (maps * prod(size)))
        bias = self.weight(f"{name}.bias", (filters,), 0.01)
        output = self.node(
            "Conv",
            [tensor, weight, bias],
            name,
            kernel_shape=list(size),
            strides=[stride, stride],
            pads=[*pads, *pads],
            group=group,
        )
        self.channels[output] = filters
        return output

    def pool(self, tensor: str, kind: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Adds a MaxPool or AveragePool over squares."""
        return self.node(kind, [tensor], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def concat(self, tensors: Sequence[str]) -> str:
        """Concatenates along the channels."""
        output = self.node("Concat", tensors, axis=1)
        self.channels[output] = sum(self.channels[tensor] for tensor in tensors)
        return output

    def connected(self, tensor: str, inputs: int, outputs: int, name: str = "") -> str:
        """Adds a Gemm with a bias on [n, inputs]."""
        name = name or f"gemm_{len(self.nodes)}"
        weight = self.weight(f"{name}.weight", (outputs, inputs), 1 / inputs)
        bias = self.weight(f"{name}.bias", (outputs,), 0.01)
        output = self.node("Gemm", [tensor, weight, bias], name, transB=1)
        self.channels[output] = outputs
        return output

    def classifier(self, tensor: str, classes: int) -> str:
        """Adds global average pooling and one fully connected layer, named logits."""
        features = self.channels[tensor]
        flat = self.node("Flatten", [self.node("GlobalAveragePool", [tensor])])
        return self.connected(flat, features, classes, "logits")

    def model(self) -> ModelProto:
        """Returns the model built so far."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
