"""Inputs of a request: from an image, NumPy files or JSON, and generated ones. Only reads files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_cli.errors import CommandError
from edge_cli.inference import DATATYPES, Array, TensorForm

_CHANNELS: Final = (3, 1, 4)
"""Numbers of channels of an image, the most likely first."""
_SIZE: Final = 224
"""Pixels of an open dimension of an image."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How pixels become values: (pixel * factor - mean) / deviation, by channel."""

    factor: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)


def image_feed(path: Path, form: TensorForm, scaling: Scaling) -> Array:
    """Returns an image in the shape of an input, [1, C, H, W] or [1, H, W, C], or without the batch.

    Raises CommandError if it cannot be read, or the input has no shape of an image.
    """
    layout = _layout(form)
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise CommandError("--image: Pillow is not installed: pip install 'edge-cli[images]'") from error
    height, width, channels, first = layout
    try:
        with Image.open(path) as picture:
            mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
            pixels = np.asarray(picture.convert(mode).resize((width, height)), dtype=np.float64)
    except (OSError, UnidentifiedImageError) as error:
        raise CommandError(f"{path}: cannot be read as an image ({error})") from error
    return shaped_image(pixels.reshape(height, width, channels), form, scaling, channels_first=first)


def shaped_image(pixels: Array, form: TensorForm, scaling: Scaling, *, channels_first: bool) -> Array:
    """Returns pixels [H, W, C] from 0 to 255 as the input takes them."""
    if form.datatype.startswith("FP"):
        pixels = (pixels * scaling.factor - np.array(scaling.mean)) / np.array(scaling.deviation)
    if channels_first:
        pixels = pixels.transpose(2, 0, 1)
    array = pixels.astype(DATATYPES[form.datatype])
    return array[np.newaxis] if len(form.shape) == 4 else array


def _layout(form: TensorForm) -> tuple[int, int, int, bool]:
    """Returns height, width, channels, and whether the channels come first. Raises CommandError."""
    shape = form.shape[1:] if len(form.shape) == 4 else form.shape
    if len(shape) != 3 or form.datatype not in DATATYPES:
        raise CommandError(
            f"--image: input {form.name} has shape {list(form.shape)} and datatype {form.datatype}, which is "
            "not that of an image: use --npy or --json"
        )
    likely = [(shape[place], place) for place in (0, 2) if shape[place] in _CHANNELS]
    if not likely:
        raise CommandError(
            f"--image: input {form.name} has shape {list(form.shape)}, of which no dimension is that of 1, 3 "
            "or 4 channels: use --npy"
        )
    # Of two dimensions that may be the channels, the more likely number is.
    first = min(likely, key=lambda each: _CHANNELS.index(each[0]))[1] == 0
    channels, sides = (shape[0], shape[1:]) if first else (shape[2], shape[:2])
    height, width = (side if side > 0 else _SIZE for side in sides)
    return height, width, channels, first


def numpy_feeds(path: Path, forms: Sequence[TensorForm]) -> dict[str, Array]:
    """Returns the arrays of an .npy file, for the only input, or of an .npz file by the names of inputs.

    Raises CommandError.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: cannot be read ({error}): give a file of numpy.save or savez") from error
    if isinstance(loaded, np.ndarray):
        return _checked({_only(forms, "--npy").name: loaded}, forms)
    return _checked({name: loaded[name] for name in loaded.files}, forms)


def json_feeds(text: str, forms: Sequence[TensorForm]) -> dict[str, Array]:
    """Returns arrays of JSON: nested lists for the only input, or an object of them by the names of inputs.

    Raises CommandError.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--json: not JSON ({error}): write nested lists") from error
    by_name = found if isinstance(found, dict) else {_only(forms, "--json").name: found}
    arrays = {}
    for name, values in by_name.items():
        form = _form(name, forms)
        try:
            arrays[name] = np.array(values, dtype=DATATYPES[form.datatype])
        except (ValueError, TypeError) as error:
            raise CommandError(f"--json: input {name}: not an array of {form.datatype} ({error})") from error
        except KeyError as error:
            raise CommandError(
                f"--json: input {name} has datatype {form.datatype}: write a whole request with inputs"
            ) from error
    return _checked(arrays, forms)


def generated_feeds(forms: Sequence[TensorForm], seed: int) -> dict[str, Array]:
    """Returns inputs of random numbers; open dimensions have size 1. Raises CommandError for texts."""
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for form in forms:
        if form.datatype not in DATATYPES:
            raise CommandError(
                f"input {form.name}: {form.datatype} cannot be generated: give --npy or --json"
            )
        shape, kind = [max(size, 1) for size in form.shape], np.dtype(DATATYPES[form.datatype])
        values = rng.random(shape) if kind.kind == "f" else rng.integers(0, 2, shape)
        found[form.name] = values.astype(kind)
    return found


def _checked(arrays: Mapping[str, Array], forms: Sequence[TensorForm]) -> dict[str, Array]:
    """Returns the arrays in the datatypes of the inputs, with a batch of one where it lacks."""
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        form = _form(name, forms)
        if form.datatype not in DATATYPES:
            raise CommandError(f"input {name} has datatype {form.datatype}: use --json with a whole request")
        if array.ndim == len(form.shape) - 1 and form.shape[0] in (-1, 1):
            array = array[np.newaxis]
        sizes = zip(array.shape, form.shape, strict=False)
        if array.ndim != len(form.shape) or any(have != want for have, want in sizes if want >= 0):
            raise CommandError(f"input {name}: has shape {list(array.shape)}, {list(form.shape)} is required")
        found[name] = array.astype(DATATYPES[form.datatype])
    if missing := [form.name for form in forms if form.name not in found]:
        raise CommandError(
            f"input {missing[0]}: missing: give an .npz file or a JSON object with every input"
        )
    return found


def _form(name: str, forms: Sequence[TensorForm]) -> TensorForm:
    for form in forms:
        if form.name == name:
            return form
    raise CommandError(f'input "{name}": does not exist: use {", ".join(form.name for form in forms)}')


def _only(forms: Sequence[TensorForm], flag: str) -> TensorForm:
    if len(forms) != 1:
        raise CommandError(
            f"{flag}: the service has the inputs {', '.join(form.name for form in forms)}: name each of them"
        )
    return forms[0]


def request_document(text: str) -> dict[str, Any] | None:
    """Returns a whole request of the protocol in JSON; None if the text is not one."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("inputs"), list) else None
