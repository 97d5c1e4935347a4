"""Cuts an ONNX graph: which tensors separate the input from an exit, and the sub-graph between two tensors.

A cut is a dominator of the exit's output in the sub-graph of the exit's ancestors. In a topological order of
that sub-graph a vertex is a dominator exactly when no edge jumps over it, so one sweep finds them all in
linear time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import onnx
from onnx import ModelProto, NodeProto

from edge_runtime.errors import BadRequest, NotOnnx, UnknownOutput, UnknownTensor
from edge_runtime.tensors import Tensor

_DATATYPES: Final = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 9: "BOOL",
    10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64",
}  # fmt: skip
# onnxruntime folds these into the operator before them: a cut in front of one costs a fusion and saves no
# byte.
_FOLDED: Final = frozenset(
    [
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Gelu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "BatchNormalization",
    ]
)
# These compute nothing: the cut in front of one is the same cut, and more exits share it.
_VIEWS: Final = frozenset(["Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze"])
_BATCHES: Final = (2, 3)


@dataclass(frozen=True, slots=True)
class Cut:
    """A tensor that separates the input from an exit, and the bytes that crossing it costs at batch 1."""

    tensor: str
    bytes: int


class Graph:
    """An ONNX model made ready for cutting: who makes each tensor, and every tensor's type and shape.

    Raises NotOnnx for bytes that are no model, BadRequest for a model that cannot be cut (several inputs,
    dimensions besides the batch that are not fixed, data outside the file).
    """

    def __init__(self, data: bytes) -> None:
        self.model = _parse(data)
        graph = self.model.graph
        self.digest = digest_of(data)
        self._initializers = {i.name: i for i in graph.initializer}
        self._sparse = {i.values.name: i for i in graph.sparse_initializer}
        constants = self._initializers.keys() | self._sparse.keys()
        inputs = [i.name for i in graph.input if i.name not in constants]
        if len(inputs) != 1:
            raise BadRequest(
                f"model: the graph has {len(inputs)} inputs ({', '.join(inputs)}); "
                f"give a model with one input tensor"
            )
        self.input = inputs[0]
        self.outputs = tuple(o.name for o in graph.output)
        self._reads: list[tuple[str, ...]] = [tuple(_reads(node)) for node in graph.node]
        self._maker = {out: i for i, node in enumerate(graph.node) for out in node.output if out}
        self._tensors = _infer(self.model, self.input)
        self._live = self._fed_by_the_input()

    def tensor(self, name: str) -> Tensor:
        """The type and shape of a tensor; UnknownTensor when it is none, or none whose shape is known."""
        found = self._tensors.get(name)
        if found is None:
            known = name in self._maker or name in self._initializers
            raise UnknownTensor(
                f'"{name}": its shape or datatype cannot be inferred; cut at another tensor'
                if known
                else f'"{name}" is not a tensor of the graph; its input is {self.input}, its outputs are '
                f"{', '.join(self.outputs)}"
            )
        return found

    def cuts(self, output: str) -> list[Cut]:
        """The cuts of an exit from the input to the deepest; UnknownOutput when the
        graph has no such output.
        """
        if output not in self.outputs:
            raise UnknownOutput(
                f'"{output}" is not an output of the graph; its outputs are {", ".join(self.outputs)}'
            )
        separators = [name for name in self._separators(output) if self._can_cross(name)]
        if not separators or separators[0] != self.input:
            raise BadRequest(f'"{output}" is not computed from the input {self.input}; name another output')
        first, *rest = separators
        fused = [a for a, b in zip(rest, [*rest[1:], output], strict=True) if not self._only(_FOLDED, a, b)]
        kept = [first]
        for name in fused:
            if not self._only(_VIEWS, kept[-1], name):
                kept.append(name)
        return [Cut(name, self._tensors[name].item_bytes()) for name in kept]

    def slice(self, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """The sub-graph from `inputs` to `outputs` as ONNX bytes, the same for the same arguments.

        Raises UnknownTensor when a name is no tensor, or when `inputs` do not separate `outputs` from the
        rest.
        """
        ins, outs = [self.tensor(n) for n in inputs], [self.tensor(n) for n in outputs]
        wanted = self._between(set(inputs), outputs)
        if not wanted:
            raise BadRequest(f"a slice from {', '.join(inputs)} to {', '.join(outputs)} holds no operator")
        source = self.model.graph
        used = {name for i in wanted for name in self._reads[i]} | set(outputs)
        sliced = ModelProto(ir_version=self.model.ir_version, producer_name="edge-runtime")
        sliced.opset_import.extend(self.model.opset_import)
        sliced.functions.extend(self.model.functions)
        sliced.graph.name = source.name or "slice"
        sliced.graph.node.extend(source.node[i] for i in sorted(wanted))
        for node in sliced.graph.node:
            node.ClearField("doc_string")
        sliced.graph.initializer.extend(i for i in source.initializer if i.name in used)
        sliced.graph.sparse_initializer.extend(i for i in source.sparse_initializer if i.values.name in used)
        sliced.graph.input.extend(_value_info(t) for t in ins)
        sliced.graph.output.extend(_value_info(t) for t in outs)
        made: bytes = sliced.SerializeToString(deterministic=True)
        return made

    def _fed_by_the_input(self) -> set[str]:
        live = {self.input}
        for node, reads in zip(self.model.graph.node, self._reads, strict=True):
            if not live.isdisjoint(reads):
                live.update(out for out in node.output if out)
        return live

    def _ancestors(self, output: str) -> set[int]:
        """Indices of the operators between the input and `output`."""
        found: set[int] = set()
        todo = [output]
        while todo:
            maker = self._maker.get(todo.pop())
            if maker is not None and maker not in found:
                found.add(maker)
                todo.extend(name for name in self._reads[maker] if name in self._live)
        return {i for i in found if not self._live.isdisjoint(self._reads[i])}

    def _separators(self, output: str) -> Iterator[str]:
        operators = sorted(self._ancestors(output))
        last_use = {name: position for position, i in enumerate(operators) for name in self._reads[i]}
        last_use[output] = len(operators)
        if self.input in last_use and not operators:
            return
        # Tensors made before an operator and read at or after it are open; a cut leaves exactly one of them
        # open.
        opened = {self.input} if self.input in last_use else set()
        for position, i in enumerate(operators):
            if len(opened) == 1:
                yield next(iter(opened))
            opened.update(o for o in self.model.graph.node[i].output if last_use.get(o, -1) > position)
            opened -= {name for name in self._reads[i] if last_use.get(name) == position}

    def _can_cross(self, name: str) -> bool:
        tensor, whole = self._tensors.get(name), self._tensors[self.input]
        return tensor is not None and (whole.shape[:1] != (-1,) or tensor.shape[:1] == (-1,))

    def _only(self, kinds: frozenset[str], start: str, end: str) -> bool:
        """Whether nothing but operators of these kinds lies between two tensors of the same size."""
        first, last = self._tensors[start], self._tensors.get(end)
        if last is None or first.item_bytes() != last.item_bytes():
            return False
        return all(self.model.graph.node[i].op_type in kinds for i in self._between({start}, [end]))

    def _between(self, inputs: set[str], outputs: Iterable[str]) -> set[int]:
        """Operators that compute `outputs` from `inputs` and constants alone."""
        found: set[int] = set()
        todo = [name for name in outputs if name not in inputs]
        while todo:
            name = todo.pop()
            maker = self._maker.get(name)
            if maker is None:
                if name == self.input:
                    raise UnknownTensor(
                        f"inputs: {', '.join(sorted(inputs))} do not separate {', '.join(outputs)} from "
                        f"{self.input}; use one of the exit's cuts"
                    )
                continue
            if maker not in found:
                found.add(maker)
                todo.extend(read for read in self._reads[maker] if read not in inputs)
        return found


def digest_of(data: bytes | memoryview) -> str:
    """`sha256:<hex>` of some bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _parse(data: bytes) -> ModelProto:
    start = data[:8].hex(" ") or "nothing"
    fix = "give the bytes of an .onnx file"
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises a different class for each way of being wrong
        raise NotOnnx(
            f"model: {len(data)} bytes starting with {start} cannot be read as ONNX; {fix}"
        ) from error
    if not model.graph.node or not model.opset_import:  # protobuf reads some random bytes as an empty model
        raise NotOnnx(f"model: {len(data)} bytes starting with {start} hold no ONNX graph; {fix}")
    for initializer in model.graph.initializer:
        if initializer.data_location == onnx.TensorProto.EXTERNAL:
            raise BadRequest(
                f'model: initializer "{initializer.name}" keeps its data outside the file; '
                f"save the model as one file"
            )
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        first = str(error).strip().splitlines()[0][:200]
        raise NotOnnx(f"model: not valid ONNX ({first}); export it again") from error
    return model


def _reads(node: NodeProto) -> Iterator[str]:
    """Names a node reads, those included that the sub-graphs of If and Loop take from outside."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
            inner = {i.name for i in body.input} | {i.name for i in body.initializer}
            inner |= {out for n in body.node for out in n.output}
            reads = [name for n in body.node for name in _reads(n)] + [o.name for o in body.output]
            yield from (name for name in reads if name not in inner)


def _infer(model: ModelProto, input_name: str) -> Mapping[str, Tensor]:
    """Shapes with the batch as -1: inferred at two batch sizes, since a reshape hides a symbolic one."""
    declared = next(i for i in model.graph.input if i.name == input_name).type.tensor_type
    dims = declared.shape.dim
    if not dims:
        raise BadRequest(
            f"model: the shape of input {input_name} is not given; export it with fixed dimensions"
        )
    loose = [i for i, d in enumerate(dims) if i > 0 and not d.HasField("dim_value")]
    if loose:
        names = ", ".join(f"{i} ({dims[i].dim_param or '?'})" for i in loose)
        raise BadRequest(
            f"model: input {input_name} leaves dimension {names} open; only the batch (dimension 0) may be"
        )
    if declared.elem_type not in _DATATYPES:
        raise BadRequest(
            f"model: input {input_name} has datatype {declared.elem_type}, which is not served here"
        )
    if dims[0].HasField("dim_value"):
        return {
            name: Tensor(name, kind, shape)
            for name, (kind, shape) in _shapes(model, input_name, None).items()
        }
    first, second = (_shapes(model, input_name, n) for n in _BATCHES)
    tensors = {}
    for name, (kind, shape) in first.items():
        other = second[name][1] if name in second else None
        if shape == other:
            tensors[name] = Tensor(name, kind, shape)
        elif other is not None and shape[1:] == other[1:] and (shape[0], other[0]) == _BATCHES:
            tensors[name] = Tensor(name, kind, (-1, *shape[1:]))
    return tensors


def _shapes(model: ModelProto, input_name: str, batch: int | None) -> dict[str, tuple[str, tuple[int, ...]]]:
    fixed = ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name == input_name and batch is not None:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    # What was declared of inner tensors and outputs holds the symbolic batch, which inference would keep.
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    found = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        tensor = value.type.tensor_type
        known = tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)
        if known and tensor.elem_type in _DATATYPES:
            found[value.name] = (_DATATYPES[tensor.elem_type], tuple(d.dim_value for d in tensor.shape.dim))
    return found


def _value_info(tensor: Tensor) -> onnx.ValueInfoProto:
    number = next(n for n, name in _DATATYPES.items() if name == tensor.datatype)
    return onnx.helper.make_tensor_value_info(
        tensor.name, number, ["N" if d < 0 else d for d in tensor.shape]
    )
