"""Locates the data of a model's tensors, and admits external data.

Large initializers stay where they are, in the model's file or in one with external data: their location is
then the digest of that file. All other external data is moved into the model.

A file's digest does not cover external data, so such data is accepted only if the file itself names its
digest: the metadata `edge.data` is a JSON object from each location to its `sha256:...`. The model's digest
then pins everything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from edge_api.words import shown
from edge_runtime.errors import BadRequest, DigestMismatch
from edge_runtime.graph_analysis.detached_weights import LEAST
from edge_runtime.slicing.pieces import Place, Source, length_of

DATA_KEY: Final = "edge.data"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

# Returns the file with a digest.
Fetch = Callable[[str], Source]


def digest_of(data: Source | memoryview) -> str:
    """`sha256:<hex>` of a file or of some bytes."""
    if isinstance(data, Path):
        with data.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    return "sha256:" + hashlib.sha256(data).hexdigest()


def checked_location(location: str) -> str:
    """Returns the location. Raises BadRequest for one that leaves the model's folder."""
    parts = PurePosixPath(location).parts
    bad = not parts or location.startswith("/") or any(p in ("..", ".") for p in parts)
    if bad or "\\" in location or "\0" in location or re.match(r"[A-Za-z]:", location):
        raise BadRequest(
            f"model: the location of its data, {shown(location)}, is not a path inside the model's "
            f"folder: write segments divided by /, without . and .."
        )
    return location


def pins(model: ModelProto, own: str = "") -> dict[str, str]:
    """Digests of the files with a model's external data, by location; empty without external data.

    own: the model's own digest. Raises BadRequest for external data that is not pinned, or has an invalid
    location.
    """
    outside = [tensor for tensor in tensors(model) if is_outside(tensor) and not _is_at(tensor, own)]
    if not outside:
        return {}
    said = _said(model)
    found = {}
    for tensor in outside:
        location = checked_location(_entries(tensor).get("location", ""))
        digest = said.get(location)
        if digest is None:
            raise BadRequest(
                f'model: initializer "{tensor.name}" keeps its data outside the file, in {location}, and the '
                f"metadata {DATA_KEY} has no digest for it: save the model as one file, or pin the data "
                f"with python -m edge_runtime.slicing.pinning MODEL"
            )
        found[location] = digest
    return found


def take_in(model: ModelProto, fetch: Fetch | None, own: str = "") -> dict[str, Source]:
    """Moves external data into the model, except that of large initializers.

    fetch: returns files by digest. own: the model's own digest. Returns the files with large initializers, by
    digest, which is their location then. Raises BadRequest for data that is not pinned, leaves the folder or
    is too short, and DigestMismatch for a file that does not have the pinned digest.
    """
    found = pins(model, own)
    if not found:
        return {}
    if fetch is None:
        raise BadRequest(
            f"model: its data is outside the file, in {', '.join(sorted(found))}: save the model as one file"
        )
    files = {at: _checked(fetch(digest), at, digest) for at, digest in found.items()}
    large: dict[str, Source] = {}
    for initializer in model.graph.initializer:
        if is_outside(initializer) and not _is_at(initializer, own):
            location = _entries(initializer)["location"]
            place = _place(initializer, files[location])
            if place.length >= LEAST:
                _point(initializer, found[location], place)
                large[found[location]] = files[location]
            else:
                _fill(initializer, place)
    for tensor in _others(model):
        if is_outside(tensor):
            _fill(tensor, _place(tensor, files[_entries(tensor)["location"]]))
    return large


def place_of(tensor: TensorProto, files: Mapping[str, Source]) -> Place:
    """Where the data of a large initializer is. files: by digest."""
    entries = _entries(tensor)
    return Place(files[entries["location"]], int(entries["offset"]), int(entries["length"]))


def pinned(model: ModelProto, folder: Path) -> ModelProto:
    """A copy of a model with the digest of every file in `folder` that contains its data."""
    copy = ModelProto()
    copy.CopyFrom(model)
    places = {_entries(t).get("location", "") for t in tensors(copy) if is_outside(t)}
    digests = {p: digest_of(inside(folder, p)) for p in sorted(places)}
    for entry in list(copy.metadata_props):
        if entry.key == DATA_KEY:
            copy.metadata_props.remove(entry)
    copy.metadata_props.add(key=DATA_KEY, value=json.dumps(digests))
    return copy


def inside(folder: Path, location: str) -> Path:
    """The file at a location. Raises BadRequest if it, or a link on its path, leaves the folder."""
    home = folder.resolve()
    path = (home / checked_location(location)).resolve()
    if not path.is_relative_to(home):
        raise BadRequest(
            f"model: the location of its data, {shown(location)}, is a link out of the model's "
            f"folder: put the file itself there"
        )
    return path


def is_outside(tensor: TensorProto) -> bool:
    """Whether a tensor's data is in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every constant of a model: initializers and attributes, including those of subgraphs and functions."""
    yield from model.graph.initializer
    yield from _others(model)


def _others(model: ModelProto) -> Iterator[TensorProto]:
    """The constants of a model without the initializers of its graph."""
    yield from _of_sparse(model.graph)
    yield from _of_nodes(model.graph.node)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from _of_sparse(graph)
    yield from _of_nodes(graph.node)


def _of_sparse(graph: GraphProto) -> Iterator[TensorProto]:
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g)
            for graph in attribute.graphs:
                yield from _of_graph(graph)


def _said(model: ModelProto) -> Mapping[str, str]:
    text = {p.key: p.value for p in model.metadata_props}.get(DATA_KEY)
    if text is None:
        return {}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"model: the metadata {DATA_KEY} is not JSON ({error})") from error
    if not isinstance(said, dict) or not all(
        isinstance(d, str) and _DIGEST.fullmatch(d) for d in said.values()
    ):
        raise BadRequest(f"model: the metadata {DATA_KEY} is {text[:100]}: write {{location: sha256:...}}")
    return said


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _is_at(tensor: TensorProto, digest: str) -> bool:
    return bool(digest) and _entries(tensor).get("location") == digest


def _checked(data: Source, location: str, digest: str) -> Source:
    found = digest_of(data)
    if found != digest:
        raise DigestMismatch(f"model: {location} is {found}, but the file declares {digest}: export it again")
    return data


def _place(tensor: TensorProto, source: Source) -> Place:
    entries, size = _entries(tensor), length_of(source)
    try:
        start = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - start)))
    except ValueError as error:
        raise BadRequest(
            f'model: initializer "{tensor.name}" has an offset or length that is not a number ({error})'
        ) from error
    if start < 0 or length < 0 or start + length > size:
        raise BadRequest(
            f'model: initializer "{tensor.name}" is at bytes {start} to {start + length} of '
            f"{entries['location']}, which has {size}: export the model again"
        )
    return Place(source, start, length)


def _fill(tensor: TensorProto, place: Place) -> None:
    tensor.raw_data = place.read()
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _point(tensor: TensorProto, location: str, place: Place) -> None:
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", str(place.start)), ("length", str(place.length))):
        tensor.external_data.add(key=key, value=value)
