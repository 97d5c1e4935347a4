"""The store's models: metadata, slices and device profiles. Blocking: call it off the event loop.

Metadata belong to a namespace and a digest. Slices and profiles follow from a model's bytes alone, so they
are made once; each namespace that registered the model can have them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from edge_api.words import shown
from edge_runtime.codecs.contracts import FP32, check_codec, form_of
from edge_runtime.errors import BadInputs, BadRequest, DigestMismatch, NotFound
from edge_runtime.json_values import Json
from edge_runtime.model_metadata import metadata_of
from edge_runtime.model_shapes import shapes_of
from edge_runtime.slicing import Graph
from edge_runtime.store.blobs import Blobs, check_digest
from edge_runtime.store.codec_measurements import CodecMeasurements
from edge_runtime.store.estimates import Estimates
from edge_runtime.store.holdings import Holdings, document, not_registered
from edge_runtime.store.layer_graphs import layer_graph
from edge_runtime.store.reachable import NOTHING, Reachable
from edge_runtime.store.sample_files import Sampled, sampled
from edge_runtime.store.sources import fetch, fetch_data

# Version of the metadata of a slice: slices of another version are cut again.
_FORM: Final = 3
# Maximum shapes at which a model is measured for all its services; the oldest are dropped.
_MOST_SHAPES: Final = 9

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class Catalogue:
    """Models, slices and profiles over a folder of blobs; caches the parsed graphs of a few models.

    holdings: what the caller's namespace has.
    """

    def __init__(self, blobs: Blobs, allowed: Reachable = NOTHING) -> None:
        self._blobs = blobs
        self._allowed = allowed
        # One parse at a time: it takes many times the file's size in memory.
        self._lock = threading.Lock()
        # Models whose external data was fetched, too, by namespace.
        self._complete: set[tuple[str | None, str]] = set()
        self._graph = lru_cache(maxsize=4)(self._read_graph)
        self._measurements = CodecMeasurements(blobs, self._locked_graph, allowed)
        self._estimates = Estimates(blobs, self._locked_graph)

    def close(self) -> None:
        """Ends the current measurement."""
        self._measurements.close()
        self._estimates.close()

    def _read_graph(self, digest: str) -> Graph:
        return Graph(self._blobs.whole_blob(digest), self._blobs.whole_blob)

    def add_model(self, request: Json, holdings: Holdings) -> dict[str, Any]:
        """Adds `{"storageUri", "digest"?, "exits"?, "inputs"?, "samples"?}`, fetched if necessary.

        Returns the model's metadata.
        """
        uri = _text(request, "storageUri")
        digest = request.get("digest")
        exits = request.get("exits")
        if exits is not None and not isinstance(exits, list):
            raise BadRequest(f"exits: {shown(exits)} is not a list: write [{{name, output, accuracy}}, …]")
        inputs = request.get("inputs")
        if inputs is not None and not isinstance(inputs, list):
            raise BadInputs(f"model.inputs: {shown(inputs)} is not a list: write [{{name, shape}}, …]")
        wanted = None if digest is None else check_digest(digest, "model.digest")
        if wanted is None:
            holdings = dataclasses.replace(holdings, inherits=False)
        stored = fetch(uri, wanted, holdings, allowed=self._allowed)
        if (holdings.namespace, stored.digest) not in self._complete:
            fetch_data(uri, stored.digest, holdings, self._allowed)
            self._complete.add((holdings.namespace, stored.digest))
        samples = self._samples(request.get("samples"), holdings)
        with self._lock:
            graph = self._graph(stored.digest)
            found = None if samples is None else sampled(graph, self._blobs.blob_path(samples))
            shapes = shapes_of(graph, inputs, None if found is None else found.shapes)
            metadata = metadata_of(graph, stored.size, exits, shapes).document()
            metadata |= {"samples": samples, "warmUp": self._first_sample(found, holdings)}
            self._remember(metadata, holdings)
        return metadata

    def _samples(self, request: Json, holdings: Holdings) -> str | None:
        """The digest of `{"storageUri", "digest"?}`, fetched if necessary; None without samples."""
        if request is None:
            return None
        uri, digest = _text(request, "storageUri"), request.get("digest")
        wanted = None if digest is None else check_digest(digest, "model.samples.digest")
        return fetch(uri, wanted, holdings, "model.samples", self._allowed).digest

    def _first_sample(self, found: Sampled | None, holdings: Holdings) -> str | None:
        """The digest of the file with one sample, for runtimes; None without samples."""
        if found is None:
            return None
        digest = self._blobs.put(found.first).digest
        holdings.keep(digest)
        return digest

    def model(self, digest: str, holdings: Holdings) -> dict[str, Any]:
        """Metadata of a model by digest, with every requested exit, all of which are profiled."""
        check_digest(digest)
        known: dict[str, Any] | None = None
        for metadata in holdings.every_metadata(digest):
            known = metadata if known is None else _joined(known, metadata)
        if known is None:
            raise not_registered(digest, holdings.namespace)
        return known

    def layers(self, digest: str, holdings: Holdings) -> dict[str, Any]:
        """The layers of the model; see `layer_graph`."""
        holdings.check_registered(check_digest(digest, "model"))
        with self._lock:
            return layer_graph(self._graph(digest))

    def _remember(self, metadata: dict[str, Any], holdings: Holdings) -> None:
        """Stores metadata. Joins exits, because services with different exits of a file share its profile."""
        known = holdings.metadata(metadata["digest"])
        joined = metadata if known is None else _joined(known, metadata)
        self._blobs.put(json.dumps(joined).encode(), holdings.metadata_path(metadata["digest"]))

    def add_slice(self, request: Json, holdings: Holdings) -> dict[str, Any]:
        """The slice of `{"model", "inputs", "outputs", "decode"?, "encode"?, "kept"?}`, cut if necessary.

        `decode` is the codec in which the inputs arrive, `encode` the one in which the outputs are sent,
        `kept` lists further outputs, which are not sent.
        """
        digest = check_digest(_text(request, "model"), "model")
        holdings.check_registered(digest)
        inputs, outputs = _names(request, "inputs"), _names(request, "outputs")
        codecs = {field: check_codec(request.get(field, FP32), field) for field in ("decode", "encode")}
        form: list[Any] = (
            [] if set(codecs.values()) == {FP32} else [form_of(codec) for codec in codecs.values()]
        )
        kept = _names(request, "kept") if request.get("kept") else []
        form += [{"kept": kept}] if kept else []
        asked = json.dumps([_FORM, digest, inputs, outputs, codecs, *form])
        index = self._blobs.root / "slices" / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
        made = document(index)
        if made is None or not self._is_whole(made):
            made = self._cut(digest, inputs, outputs, codecs, kept)
            self._blobs.put(json.dumps(made).encode(), index)
        holdings.keep(made["digest"])
        return made

    def _cut(
        self,
        digest: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        codecs: dict[str, str],
        kept: Sequence[str],
    ) -> dict[str, Any]:
        with self._lock:
            graph = self._graph(digest)
            for file in graph.files:  # the slice is read from there
                self._blobs.check_blob(file)
            with self._blobs.receive(None) as incoming:
                for chunk in graph.slice_chunks(inputs, outputs, **codecs, kept=kept):
                    incoming.write(chunk)
            takes, gives = graph.contract(inputs, outputs, **codecs, kept=kept)
            return {
                "digest": incoming.digest,
                "size": incoming.size,
                "inputs": [t.document() for t in takes],
                "outputs": [t.document() for t in gives],
            }

    def codecs(self, request: Json, holdings: Holdings) -> dict[str, Any]:
        """The accuracy of each exit with each codec at each cut; see `CodecMeasurements`."""
        return self._measurements.ask(request, holdings)

    def _locked_graph(self, digest: str) -> Graph:
        with self._lock:
            return self._graph(digest)

    def _is_whole(self, known: dict[str, Any]) -> bool:
        """Whether a cut slice is undamaged on disk; a damaged one is removed and cut again."""
        try:
            self._blobs.check_blob(known["digest"])
        except (NotFound, DigestMismatch, KeyError, BadRequest):
            return False
        return True

    def put_profile(self, model: str, selection: str, device_class: str, profile: Json) -> dict[str, Any]:
        """Stores a DeviceProfile. Raises BadRequest if its model, selection, class or lists are wrong."""
        path = self._profile_path(model, selection, device_class)
        found = profile if isinstance(profile, dict) else {}
        said = (found.get("model"), found.get("selection"), found.get("deviceClass"))
        if said != (model, selection, device_class) or not isinstance(found.get("segments"), list):
            raise BadRequest(
                f"profile: expected the DeviceProfile of model {model}, selection {selection} and class "
                f"{device_class} with its segments, got model {shown(said[0])}, selection {shown(said[1])} "
                f"and deviceClass {shown(said[2])}"
            )
        stored = self._blobs.put(json.dumps(profile).encode(), path)
        return {"digest": stored.digest, "size": stored.size}

    def profile(self, model: str, selection: str, device_class: str, holdings: Holdings) -> bytes:
        """A stored DeviceProfile as JSON. Raises NotFound before it is measured."""
        path = self._profile_path(model, selection, device_class)
        holdings.check_registered(model)
        if not path.is_file():
            raise NotFound(
                f"no profile of {model} on class {device_class} of {selection}: run edge-runtime "
                "profile-device there"
            )
        return path.read_bytes()

    def estimate(self, model: str, selection: str, device_class: str, holdings: Holdings) -> dict[str, Any]:
        """A DeviceProfile of a model that was not measured on a class; see `Estimates`."""
        self._profile_path(model, selection, device_class)  # checks the names
        return self._estimates.estimate(
            self.model(model, holdings), selection, device_class, self._blobs.root / "profiles"
        )

    def _profile_path(self, model: str, selection: str, device_class: str) -> Path:
        for field, value in (("selection", selection), ("deviceClass", device_class)):
            if not _LABEL.fullmatch(value):
                raise BadRequest(
                    f"{field}: {shown(value)} is not a label value: write letters, digits, - _ ."
                )
        folder = check_digest(model, "model").removeprefix("sha256:")
        return self._blobs.root / "profiles" / folder / selection / f"{device_class}.json"


def _joined(known: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata with the exits, segments and shapes of both; exits of `metadata` replace known ones."""
    named = {(e["name"], *e["outputs"]) for e in metadata["exits"]}
    exits = [e for e in known["exits"] if (e["name"], *e["outputs"]) not in named] + metadata["exits"]
    segments = [s for s in known["segments"] if s not in metadata["segments"]] + metadata["segments"]
    shapes = [s for s in known.get("shapes", []) if s not in metadata["shapes"]] + metadata["shapes"]
    samples = metadata["samples"] or known.get("samples")
    joined = {"exits": exits, "segments": segments, "shapes": shapes[-_MOST_SHAPES:], "samples": samples}
    return {**metadata, **joined}


def _text(request: Json, field: str) -> str:
    value = request.get(field) if isinstance(request, dict) else None
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{field}: {shown(value)} is not a string: send a JSON object with {field}")
    return value


def _names(request: Json, field: str) -> Sequence[str]:
    value = request.get(field)
    if not isinstance(value, list) or not value or not all(isinstance(n, str) for n in value):
        raise BadRequest(f"{field}: {shown(value)} is not a list of tensor names: write at least one")
    return value
