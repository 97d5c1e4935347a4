"""What the store knows of its models: cards, slices and device profiles. Blocking: call it off the event
loop.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from edge_runtime.cards import card_of
from edge_runtime.documents import Json
from edge_runtime.errors import BadRequest, NotFound
from edge_runtime.slicing import Graph
from edge_runtime.store.blobs import Blobs, check_digest
from edge_runtime.store.sources import fetch

_CLASS = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class Catalogue:
    """Models, slices and profiles over a folder of blobs; parsed graphs are kept for a few models."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        # One parse at a time: a model is many times its file in memory.
        self._lock = threading.Lock()
        self._graph = lru_cache(maxsize=4)(lambda digest: Graph(self._blobs.read_blob(digest)))

    def add_model(self, request: Json) -> dict[str, Any]:
        """The ModelCard of `{"storageUri", "digest"?, "exits"?}`, fetched when it is not here yet."""
        uri = _text(request, "storageUri")
        digest = request.get("digest")
        exits = request.get("exits")
        if exits is not None and not isinstance(exits, list):
            raise BadRequest(f"exits: {exits!r} is not a list; write [{{name, output, accuracy}}, …]")
        stored = fetch(uri, None if digest is None else check_digest(digest, "model.digest"), self._blobs)
        with self._lock:
            card = card_of(self._graph(stored.digest), stored.size, exits).document()
            self._remember(card)
        return card

    def model(self, digest: str) -> dict[str, Any]:
        """The card of a model by digest with every exit that anyone asked for so far: what has to be
        profiled.
        """
        path = self._card_path(digest)
        if not path.is_file():
            raise NotFound(
                f"digest: no model {digest} in this store; POST /v1/models with its storageUri first"
            )
        known: dict[str, Any] = json.loads(path.read_bytes())
        return known

    def _remember(self, card: dict[str, Any]) -> None:
        """Services that name different exits of one file share its profile, so their exits are joined."""
        path = self._card_path(card["digest"])
        known = json.loads(path.read_bytes()) if path.is_file() else {"exits": [], "segments": []}
        named = {(e["name"], e["output"]) for e in card["exits"]}
        exits = [e for e in known["exits"] if (e["name"], e["output"]) not in named] + card["exits"]
        segments = [s for s in known["segments"] if s not in card["segments"]] + card["segments"]
        self._blobs.put(json.dumps({**card, "exits": exits, "segments": segments}).encode(), path)

    def _card_path(self, digest: str) -> Path:
        return self._blobs.root / "models" / f"{check_digest(digest).removeprefix('sha256:')}.json"

    def add_slice(self, request: Json) -> dict[str, Any]:
        """The slice of `{"model", "inputs", "outputs"}`, cut when it is not here yet."""
        digest = check_digest(_text(request, "model"), "model")
        inputs, outputs = _names(request, "inputs"), _names(request, "outputs")
        key = hashlib.sha256(json.dumps([digest, inputs, outputs]).encode()).hexdigest()
        index = self._blobs.root / "slices" / f"{key}.json"
        if index.is_file():
            known: dict[str, Any] = json.loads(index.read_bytes())
            if self._blobs.blob_path(known["digest"]).is_file():
                return known
        with self._lock:
            graph = self._graph(digest)
            stored = self._blobs.put(graph.slice(inputs, outputs))
            made = {
                "digest": stored.digest,
                "size": stored.size,
                "inputs": [graph.tensor(n).document() for n in inputs],
                "outputs": [graph.tensor(n).document() for n in outputs],
            }
        self._blobs.put(json.dumps(made).encode(), index)
        return made

    def put_profile(self, model: str, device_class: str, profile: Json) -> dict[str, Any]:
        """Keeps a DeviceProfile; BadRequest when it is of another model or class, or lacks its lists."""
        path = self._profile_path(model, device_class)
        said = (profile.get("model"), profile.get("deviceClass")) if isinstance(profile, dict) else ()
        if said != (model, device_class) or not isinstance(profile.get("segments"), list):
            raise BadRequest(
                f"profile: expected the DeviceProfile of model {model} and class {device_class}, "
                f"got one of {said}"
            )
        stored = self._blobs.put(json.dumps(profile).encode(), path)
        return {"digest": stored.digest, "size": stored.size}

    def profile(self, model: str, device_class: str) -> bytes:
        """A kept DeviceProfile as JSON; NotFound before it was measured."""
        path = self._profile_path(model, device_class)
        if not path.is_file():
            raise NotFound(
                f"no profile of {model} on class {device_class}; run edge-runtime profile-device there"
            )
        return path.read_bytes()

    def _profile_path(self, model: str, device_class: str) -> Path:
        if not _CLASS.fullmatch(device_class):
            raise BadRequest(
                f"deviceClass: {device_class!r} is not a label value; write letters, digits, - _ ."
            )
        folder = check_digest(model, "model").removeprefix("sha256:")
        return self._blobs.root / "profiles" / folder / f"{device_class}.json"


def _text(request: Json, field: str) -> str:
    value = request.get(field) if isinstance(request, dict) else None
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{field}: {value!r} is not a string; send a JSON object with {field}")
    return value


def _names(request: Json, field: str) -> Sequence[str]:
    value = request.get(field)
    if not isinstance(value, list) or not value or not all(isinstance(n, str) for n in value):
        raise BadRequest(f"{field}: {value!r} is not a list of tensor names; write at least one")
    return value
