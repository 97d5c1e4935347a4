"""Cuts an ONNX graph: the tensors that separate the inputs from an exit, and the subgraph between two cuts.

A cut of one tensor is a dominator of the exit's outputs in the subgraph of the exit's ancestors. In a
topological order of that subgraph a vertex is a dominator exactly if no edge jumps over it, so one sweep
finds all of them in linear time. Inputs that operators behind a cut read, such as a state, and outputs that
are computed before it are tensors of the cut, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Final

from onnx import ValueInfoProto

from edge_planning.graphs.input_copies import input_copies
from edge_runtime.codecs.contracts import FP32, check_codec, wire_tensors
from edge_runtime.errors import BadRequest, UnknownOutput, UnknownTensor
from edge_runtime.graph_analysis.nodes import everywhere
from edge_runtime.slicing.checking import read_model
from edge_runtime.slicing.dimensions import Size
from edge_runtime.slicing.pieces import Source, chunks_of
from edge_runtime.slicing.shapes import check_input, infer, open_sizes, ranks
from edge_runtime.slicing.structures import Structure
from edge_runtime.slicing.tensordata import Fetch, digest_of
from edge_runtime.slicing.writing import SliceParts, write
from edge_runtime.tensors import Tensor

# onnxruntime fuses these into the operator before them: a cut in front of one costs a fusion and saves no
# bytes.
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
# These compute nothing: the cut in front of one is equivalent, and more exits share it.
_VIEWS: Final = frozenset(["Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze"])
_SHOWN: Final = 6
_MOST_ON_A_HOP: Final = 64
"""Tensors that a Placement can list for a hop."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Tensors that together separate the inputs from an exit.

    bytes: of those that cross, at batch 1. sent: those that cross, if outputs of the exit are among the
    tensors: what no operator behind the cut reads stays where it was computed. Empty if all cross.
    """

    tensors: tuple[str, ...]
    bytes: int
    sent: tuple[str, ...] = ()

    @property
    def crossing(self) -> tuple[str, ...]:
        """The tensors that cross."""
        return self.sent or self.tensors

    @property
    def tensor(self) -> str:
        """The cut's name: its tensor, or several joined by `+`."""
        return "+".join(self.tensors)


class Graph:
    """An ONNX model prepared for cutting: the producer, datatype and shape of every tensor.

    `fetch` returns external data by its digest. Large initializers stay in their files: a slice is read from
    there. Raises NotOnnx for bytes that are not a model, BadRequest for a model that cannot be cut,
    DigestMismatch for data that does not match its digest.
    """

    def __init__(self, data: Source, fetch: Fetch | None = None) -> None:
        self.digest = digest_of(data)
        self.model, self._files = read_model(data, self.digest, fetch)
        graph = self.model.graph
        self._constants = {i.name for i in graph.initializer} | {
            i.values.name for i in graph.sparse_initializer
        }
        declared: list[ValueInfoProto] = [i for i in graph.input if i.name not in self._constants]
        if not declared:
            raise BadRequest("model: the graph has no inputs: use a model with an input")
        for value in declared:
            check_input(value)
        self.inputs: tuple[str, ...] = tuple(i.name for i in declared)
        self.outputs = tuple(dict.fromkeys(o.name for o in graph.output))
        self._open = {v.name: found for v in declared if (found := open_sizes(v))}
        self._structure = Structure(self.model, self.inputs)
        self._known = infer(self.model, self.inputs)
        self._taken = {name for node in everywhere(graph.node) for name in (*node.input, *node.output)}
        self._taken |= self._constants | set(self.inputs)

    @property
    def dimensions(self) -> dict[str, tuple[Size, ...]]:
        """The dimensions of each input, the open ones by name."""
        return {name: self._known[name].dimensions for name in self.inputs}

    @property
    def is_open(self) -> bool:
        """Whether an input has an open dimension besides its first one, the batch."""
        return bool(self._open)

    def at(self, shapes: Mapping[str, Sequence[int]]) -> Graph:
        """The graph for inputs of these shapes, which gives its cuts and their bytes.

        A first dimension of 1 is the batch and stays open. Slices of the graph returned are for these shapes
        alone.
        """
        sized = copy(self)
        sized._open, sized._known = {}, infer(self.model, self.inputs, shapes)  # noqa: SLF001 - its own class
        return sized

    @property
    def computed(self) -> tuple[str, ...]:
        """The outputs that are computed from an input, without constants and forwarded inputs.

        Sequences and maps are left out: they cannot be sent.
        """
        kinds = {o.name: o.type.WhichOneof("value") for o in self.model.graph.output}
        sent = [name for name in self.outputs if kinds[name] in (None, "tensor_type")]
        return tuple(n for n in sent if n not in self.inputs and self.needed_inputs([n]))

    def tensor(self, name: str) -> Tensor:
        """Datatype and shape of a tensor. Raises UnknownTensor if it does not exist, or they are unknown."""
        found = self._known.get(name)
        if found is not None and name in self._structure.live:
            return found.tensor
        if name in self._constants or (name in self._structure.maker and name not in self._structure.live):
            raise UnknownTensor(f'"{name}" is a constant, which every slice contains: leave it out')
        if name not in self._structure.maker:
            raise UnknownTensor(
                f'"{name}" is not a tensor of the graph: use one between {", ".join(self.inputs)} and '
                f"{', '.join(self.outputs)}"
            )
        if len(several := ranks(self.model, self.inputs, name)) > 1:
            raise UnknownTensor(
                f'"{name}": it has {" or ".join(map(str, several))} dimensions, by the sizes of the inputs: '
                f"export the model with a fixed number of them, without a Squeeze that depends on the batch, "
                f"or serve the file with edge-runtime serve"
            )
        raise UnknownTensor(
            f'"{name}": its shape or datatype cannot be inferred: declare it in the graph\'s value_info, '
            f"or cut at another tensor"
        )

    def strings(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of some tensors that contain strings, whose bytes are not known in advance."""
        known = ((name, self._known.get(name)) for name in names)
        return tuple(name for name, found in known if found and found.tensor.datatype == "BYTES")

    @property
    def draws(self) -> bool:
        """Whether any operator draws at random."""
        return bool(self._structure.draws)

    def sent_bytes(self, name: str) -> int:
        """The bytes of a tensor for one item; 0 for an unknown tensor or one that cannot be sent."""
        sendable = name in self._structure.live and (name in self.inputs or self._can_cross([name]))
        return self._bytes([name]) if sendable else 0

    @property
    def input_copies(self) -> tuple[str, ...]:
        """The tensors that are only copies of an input, the inputs first."""
        operators = zip(self.model.graph.node, self._structure.reads, self._structure.outputs, strict=True)
        live = self._structure.live
        copies = input_copies(
            self.inputs,
            (
                (node.op_type.lower(), [name for name in reads if name in live], outputs)
                for node, reads, outputs in operators
            ),
        )
        made = (name for outputs in self._structure.outputs for name in outputs)
        return tuple(name for name in (*self.inputs, *made) if name in copies)

    def needed_inputs(self, names: Sequence[str]) -> tuple[str, ...]:
        """The inputs that tensors depend on, in the model's order."""
        _, needed = self._structure.between((), names)
        return tuple(name for name in self.inputs if name in needed)

    def sources(self, names: Sequence[str], known: Collection[str]) -> tuple[str, ...]:
        """The tensors of `known` that others are computed from with none of `known` in between.

        Unlike layers at fixed sizes, a slice computes sizes from the tensor that has them.
        """
        return self._structure.sources(names, known)

    def cuts(self, outputs: Sequence[str], most: int = 1) -> list[Cut]:
        """The cuts of an exit from the inputs to the deepest, each of at most `most` intermediate tensors.

        The first consists of all inputs that the exit needs. With inputs and outputs that pass beside it, a
        cut has more than `most` tensors only if it has fewer bytes than the first. An exit that needs strings
        has only the first, with the bytes of empty ones: strings stay where they arrive. Raises UnknownOutput
        if the graph lacks an output, and BadRequest if dimensions other than the batch are open, so that
        bytes are unknown.
        """
        if unknown := [name for name in outputs if name not in self.outputs]:
            raise UnknownOutput(
                f'"{unknown[0]}" is not an output of the graph: use one of {", ".join(self.outputs)}'
            )
        for name, sizes in self._open.items():
            raise BadRequest(
                f"model: input {name} leaves dimension {', '.join(sizes)} open, so the bytes of its cuts are "
                f"unknown: give its shape"
            )
        found = list(self._structure.separators(outputs, most))
        if not found or not set(found[0]) <= set(self.inputs):
            raise BadRequest(
                f'"{", ".join(outputs)}" is not computed from the input {", ".join(self.inputs)}: '
                f"use another output"
            )
        first = found[0]
        if self.strings(first):
            return [Cut(first, max(self._bytes(first), 1))]
        self._check_sizes(first)
        whole = self._bytes(first)
        sent = {names: self._read_behind(names, outputs) or names for names in found}
        rest = [
            names
            for names in found[1:]
            if self._can_cross(names)  # in profiles, the next slice reads outputs, too
            and self._can_cross(sent[names])
            and len(names) <= _MOST_ON_A_HOP
            and (len(names) <= most or self._bytes(sent[names]) < whole)
        ]
        fused = [
            a for a, b in zip(rest, [*rest, tuple(outputs)][1:], strict=True) if not self._only(_FOLDED, a, b)
        ]
        kept = [first]
        for names in fused:
            if not self._only(_VIEWS, kept[-1], names):
                kept.append(names)
        return [Cut(names, self._bytes(sent[names]), self._read_behind(names, outputs)) for names in kept]

    def crossing(self, cut: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
        """The tensors of an exit's cut that cross: without its outputs that nothing behind the cut reads."""
        return self._read_behind(cut, outputs) or tuple(cut)

    def _read_behind(self, names: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
        """The tensors of a cut that operators behind it read; none if no output is among its tensors."""
        if set(names).isdisjoint(outputs):
            return ()
        wanted, _ = self._structure.between(set(names), outputs)
        read = {name for number in wanted for name in self._structure.reads[number]}
        return tuple(name for name in names if name in read)

    def slice(
        self,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        decode: str = FP32,
        encode: str = FP32,
        kept: Sequence[str] = (),
    ) -> bytes:
        """The subgraph from `inputs` to `outputs` as ONNX bytes, the same for the same arguments.

        See `slice_chunks`.
        """
        return b"".join(self.slice_chunks(inputs, outputs, decode=decode, encode=encode, kept=kept))

    @property
    def files(self) -> tuple[str, ...]:
        """Digests of the files from which slices are read: its own and those with external data."""
        return tuple(self._files)

    def slice_chunks(
        self,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        decode: str = FP32,
        encode: str = FP32,
        kept: Sequence[str] = (),
    ) -> Iterator[bytes]:
        """The bytes of `slice` in chunks, most of them of 1 MiB at most.

        decode: the codec in which `inputs` arrive. encode: the codec in which `outputs` are sent. A tensor in
        both is forwarded. kept: further outputs, which are not sent and therefore not encoded. Raises
        UnknownTensor if a name is not a tensor, or if `inputs` do not separate `outputs` from the rest, and
        BadRequest for other arguments that cannot form a slice.
        """
        check_codec(decode, "decode")
        check_codec(encode, "encode")
        ins, outs = self._ends(inputs, "inputs"), self._ends(outputs, "outputs")
        stay = self._ends(kept, "kept") if kept else ()
        wanted, missing = self._structure.between(set(inputs), [*outputs, *kept])
        if missing:
            raise self._not_separated(inputs, [*outputs, *kept])
        self._check_draws(wanted, inputs)
        part = SliceParts(tuple(sorted(wanted)), ins, outs, decode, encode, stay)
        if not wanted and not part.has_codec():
            raise BadRequest(f"a slice from {', '.join(inputs)} to {', '.join(outputs)} has no operators")
        needed = {name for i in wanted for name in self._structure.reads[i]} | {*outputs, *kept}
        spare = [name for name in inputs if name not in needed]
        if spare:
            raise BadRequest(
                f"inputs: {', '.join(spare)} is not needed to compute {', '.join(outputs)}: leave it out"
            )
        return chunks_of(write(self.model, part, needed, self._taken, self._known, self._files))

    def contract(
        self,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        decode: str = FP32,
        encode: str = FP32,
        kept: Sequence[str] = (),
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Inputs and outputs of the slice with the same arguments: names, datatypes and shapes."""
        ins, outs = self._ends(inputs, "inputs"), self._ends(outputs, "outputs")
        gives = wire_tensors(outs, encode, self._taken)
        stay = self._ends(kept, "kept") if kept else ()
        return wire_tensors(ins, decode, self._taken), (*gives, *(t for t in stay if t not in gives))

    def _ends(self, names: Sequence[str], field: str) -> tuple[Tensor, ...]:
        if not names:
            raise BadRequest(f"{field}: no tensors: name at least one")
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise BadRequest(f'{field}: "{twice}" is named twice: name it once')
        return tuple(self.tensor(name) for name in names)

    def _not_separated(self, inputs: Sequence[str], outputs: Sequence[str]) -> UnknownTensor:
        made = {name for i in self._structure.before(inputs) for name in self._structure.outputs[i]}
        made.update(self.inputs)
        backwards = [name for name in outputs if name in made and name not in inputs]
        if backwards:
            return UnknownTensor(
                f"inputs: {', '.join(inputs)} is computed from {', '.join(backwards)}, so a slice cannot "
                f"start there and end at {', '.join(outputs)}: swap them"
            )
        path = self._structure.way_around(set(inputs), outputs)
        shown = path if len(path) <= _SHOWN else [*path[:3], "...", *path[-2:]]
        return UnknownTensor(
            f"inputs: {', '.join(inputs)} do not separate {', '.join(outputs)} from {path[0]}: use one of "
            f"the exit's cuts, or add a tensor of {' -> '.join(shown)}, which bypasses them"
        )

    def _check_draws(self, wanted: set[int], inputs: Sequence[str]) -> None:
        if not wanted & self._structure.draws:
            return
        for i in sorted(wanted & self._structure.draws & set(self._structure.before(inputs))):
            drawn = ", ".join(self._structure.outputs[i])
            raise UnknownTensor(
                f"inputs: {drawn} is drawn at random and needed on both sides of {', '.join(inputs)}: "
                f"add it to the cut"
            )

    def _check_sizes(self, names: Sequence[str]) -> None:
        """Raises BadRequest for inputs that are empty."""
        if not self._bytes(names):
            sizes = "; ".join(f"{name} {list(self._known[name].tensor.shape)}" for name in names)
            raise BadRequest(
                f"model: the inputs have no elements ({sizes}): 0 is a fixed size: write an open "
                f"dimension as a name or as -1"
            )

    def _bytes(self, names: Sequence[str]) -> int:
        """Bytes of tensors at batch 1; they must be able to cross."""
        return sum(self._known[name].item_bytes or 0 for name in names)

    def _can_cross(self, names: Sequence[str]) -> bool:
        """Whether tensors have known sizes, in total not 0, and a batch if the inputs have one.

        An input crosses as it is in the request, with a batch or without.
        """
        batched = any(self._known[i].tensor.shape[:1] == (-1,) for i in self.inputs)
        known = [(self._known.get(name), name in self.inputs) for name in names]
        return bool(self._bytes([n for n in names if n in self._known])) and all(
            k is not None and k.item_bytes is not None and (k.in_items or given or not batched)
            for k, given in known
        )

    def _only(self, kinds: frozenset[str], start: Sequence[str], end: Sequence[str]) -> bool:
        """Whether only operators of these kinds lie between two tensors of the same size."""
        if len(start) != 1 or len(end) != 1:
            return False
        first, last = self._known[start[0]], self._known.get(end[0])
        if last is None or first.item_bytes != last.item_bytes:
            return False
        wanted, missing = self._structure.between(set(start), end)
        return not missing and all(self.model.graph.node[i].op_type in kinds for i in wanted)
