"""Triton's shared memory extensions over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_api.words import shown_json
from edge_runtime.asgi import parse_json
from edge_runtime.errors import BadRequest, MethodNotAllowed, NotFound
from edge_runtime.json_values import Json
from edge_runtime.shared_memory.regions import NO_CUDA, SharedMemory

CUDA: Final = "cudasharedmemory"


def answer(memory: SharedMemory, method: str, path: Sequence[str], body: bytes) -> Json:
    """Response to a request below /v2/systemsharedmemory or /v2/cudasharedmemory.

    path: the segments after /v2. Raises BadRequest, MethodNotAllowed, and NotFound for another path.
    """
    match path:
        case [kind, *region, "status" as verb] if _names_one(region):
            _only("GET", method, path)
        case [kind, *region, "unregister" as verb] if _names_one(region):
            _only("POST", method, path)
        case [kind, "region", _, "register" as verb]:
            region = [*path[1:3]]
            _only("POST", method, path)
        case _:
            raise NotFound(f"/v2/{'/'.join(path)[:200]}: not an endpoint of the shared memory extension")
    name = region[1] if region else ""
    if kind == CUDA:
        # Nothing is ever registered. Clients still unregister everything before they register.
        if verb == "register":
            raise BadRequest(NO_CUDA)
        return [] if verb == "status" else {}
    if verb == "status":
        return memory.status(name)
    if verb == "unregister":
        memory.unregister(name)
    else:
        _register(memory, name, parse_json(body))
    return {}


def _names_one(region: Sequence[str]) -> bool:
    return not region or (len(region) == 2 and region[0] == "region")


def _register(memory: SharedMemory, name: str, wish: Json) -> None:
    if not isinstance(wish, dict):
        raise BadRequest(f"body: {shown_json(wish)} is not a JSON object with key and byte_size")
    key, offset, size = wish.get("key"), wish.get("offset", 0), wish.get("byte_size")
    if not isinstance(key, str):
        raise BadRequest(f"key: {shown_json(key)} is not a name of shared memory: write e.g. /camera-1")
    if type(offset) is not int:
        raise BadRequest(f"offset: {shown_json(offset)} is not a number of bytes")
    if type(size) is not int:
        raise BadRequest(f"byte_size: {shown_json(size)} is not a number of bytes")
    memory.register(name, key, offset, size)


def _only(wanted: str, method: str, path: Sequence[str]) -> None:
    if method != wanted:
        raise MethodNotAllowed(
            f"{method} /v2/{'/'.join(path)[:200]}: method not allowed: use {wanted}", wanted
        )
