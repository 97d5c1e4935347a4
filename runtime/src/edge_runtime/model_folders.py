"""Serves the models of a folder, which clients load and unload by name."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from edge_runtime.errors import CannotLoad, EdgeError, UnknownModel
from edge_runtime.served_models import ServedModels
from edge_runtime.serving import MODEL_VERSION
from edge_runtime.standalone import LoadedFile

_log = logging.getLogger(__name__)

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A name of a model that can be part of the path of a URL."""
_UNLOADED: Final = "unloaded"
_MOST_NAMED: Final = 10

Load = Callable[[str, Path], Awaitable[LoadedFile | None]]


def models_in(folder: Path) -> dict[str, Path]:
    """The file of each model in a folder, by name.

    A model is a file NAME.onnx, NAME/model.onnx, or NAME/<version>/model.onnx as in Triton's repositories, of
    which the greatest version is used. Raises CannotLoad for a folder that cannot be read, has no models, or
    has two of one name, and for a name that cannot be part of a URL's path.
    """
    found: dict[str, Path] = {}
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise CannotLoad(f"{folder}: cannot be read ({error.strerror}): name a folder of models") from error
    for entry in entries:
        file = _model_of(entry)
        if file is None:
            continue
        name = entry.stem if file == entry else entry.name
        if not MODEL_NAME.fullmatch(name):
            raise CannotLoad(
                f'{entry}: "{name}" cannot be the name of a model: use letters, digits, "-", "_" and "."'
            )
        if name in found:
            raise CannotLoad(f"{entry}: {found[name]} has the same name: rename or remove one of them")
        found[name] = file
    if not found:
        raise CannotLoad(
            f"{folder}: has no models: put files NAME.onnx, NAME/model.onnx or NAME/1/model.onnx into it"
        )
    return found


def _model_of(entry: Path) -> Path | None:
    """The ONNX file of an entry of the folder; None if it has none."""
    if entry.is_file():
        return entry if entry.suffix == ".onnx" else None
    versions = [entry, *sorted((v for v in entry.glob("*") if v.name.isdigit()), key=lambda v: int(v.name))]
    files = [file for version in versions if (file := version / "model.onnx").is_file()]
    return files[-1] if files else None


class FolderModels(ServedModels):
    """The models of a folder, which clients load and unload.

    load: loads a file as the model with a name; None if the server is shutting down. stuck: why requests
      wait too long; empty if they do not.
    """

    def __init__(self, folder: Path, load: Load, stuck: Callable[[], str]) -> None:
        self._folder, self._load_file = folder, load
        self._loaded: dict[str, LoadedFile] = {}
        self._reasons: dict[str, str] = {}
        """Why each known model is not loaded; empty for those that are."""
        self._changing: dict[str, asyncio.Lock] = {}
        self._started = False
        super().__init__(lambda: self._started, stuck, lambda: True)

    @property
    def loaded(self) -> Mapping[str, LoadedFile]:
        """The loaded models by name."""
        return self._loaded

    async def start(self) -> None:
        """Loads all models of the folder. One that cannot be loaded is logged and does not affect others.

        Raises CannotLoad as `models_in`, and if none can be loaded.
        """
        found = await asyncio.to_thread(models_in, self._folder)
        self._reasons = dict.fromkeys(found, "not loaded yet")
        reasons = []
        for name in found:
            try:
                await self.load(name)
            except EdgeError as error:
                _log.warning("%s", error)
                reasons.append(str(error))
        if len(reasons) == len(found):
            raise CannotLoad(f"{self._folder}: no model can be loaded: {'; '.join(reasons)}")
        self._started = True

    async def load(self, model: str) -> None:
        """Loads a model, or its file as it is now in place of a loaded one.

        Raises UnknownModel, and CannotLoad, after which a loaded model is served as before.
        """
        path = (await asyncio.to_thread(models_in, self._folder)).get(model)
        if path is None:
            raise self._unknown("load", model)
        async with self._changing.setdefault(model, asyncio.Lock()):
            try:
                loaded = await self._load_file(model, path)
            except EdgeError as error:
                if model not in self._loaded:
                    self._reasons[model] = str(error)
                raise CannotLoad(f'failed to load "{model}": {error}') from error
            if loaded is None:
                return
            before = self._loaded.get(model)  # requests in flight keep it until they have their responses
            self._loaded[model], self._reasons[model] = loaded, ""
            self.add(loaded.service)
            loaded.service.draining = self.draining
            if before is not None:
                before.model.close()

    async def unload(self, model: str) -> None:
        """Serves a model no longer; requests in flight get their responses. Raises UnknownModel."""
        if model not in self._reasons:
            raise self._unknown("unload", model)
        async with self._changing.setdefault(model, asyncio.Lock()):
            loaded = self._loaded.pop(model, None)
            if loaded is not None:
                self.remove(model)
                self._reasons[model] = _UNLOADED
                loaded.model.close()

    def close(self) -> None:
        """Lets go of all models."""
        for loaded in self._loaded.values():
            loaded.model.close()

    def _unknown(self, verb: str, model: str) -> UnknownModel:
        names = sorted(self._reasons)
        more = f" and {len(names) - _MOST_NAMED} others" if len(names) > _MOST_NAMED else ""
        return UnknownModel(
            f'failed to {verb} "{model[:80]}": {self._folder} has no such model: it has '
            f"{', '.join(names[:_MOST_NAMED])}{more}"
        )

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether a request to the model would get a response soon. Raises UnknownModel for unknown names."""
        return not self._reasons.get(model) and super().model_ready(model, version)

    def index(self, *, only_ready: bool) -> list[dict[str, str]]:
        """The repository index: loaded models, then those that are not, with the reason."""
        loaded = super().index(only_ready=only_ready)
        others = [
            {"name": name, "version": MODEL_VERSION, "state": "UNAVAILABLE", "reason": why}
            for name, why in self._reasons.items()
            if why
        ]
        return loaded if only_ready else loaded + others
