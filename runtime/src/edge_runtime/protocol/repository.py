"""Triton's model repository extension: clients load and unload models, whatever the transport."""

from __future__ import annotations

from typing import Final, Protocol

from edge_api.words import shown_json
from edge_runtime.errors import BadRequest
from edge_runtime.json_values import Json

_WITHOUT_EFFECT: Final = ("unload_dependents",)


class Repository(Protocol):
    """Models that clients load and unload."""

    async def load(self, model: str) -> None:
        """Loads a model, or its file as it is now in place of a loaded one.

        Raises UnknownModel and CannotLoad.
        """

    async def unload(self, model: str) -> None:
        """Serves a model no longer; requests in flight get their responses. Raises UnknownModel."""


async def change(repository: Repository | None, model: str, verb: str, wish: Json) -> None:
    """Loads or unloads a model. wish: the body of the request.

    Raises BadRequest without a repository and for parameters that replace a file or its configuration,
    UnknownModel and CannotLoad.
    """
    if repository is None:
        raise BadRequest(
            f"{verb}: clients cannot load and unload models here: in a cluster that follows the Placements, "
            f"and `edge-runtime serve` does it for a folder"
        )
    parameters = wish.get("parameters") or {} if isinstance(wish, dict) else None
    if not isinstance(parameters, dict):
        raise BadRequest(f"body: {shown_json(wish)} is not a JSON object with parameters")
    for name in parameters:
        if name not in _WITHOUT_EFFECT:
            raise BadRequest(
                f"parameters.{name[:80]}: not supported: change the file in the folder and load the model"
            )
    await (repository.load(model) if verb == "load" else repository.unload(model))
