"""Values of one input: from a literal, a .npy file, or the arrays of a .npz file."""

from __future__ import annotations

import json
import mmap
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_runtime.errors import BadRequest, BadTensor
from edge_runtime.protocol.contents import from_values
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor

Blob = bytes | mmap.mmap

_DAMAGED: Final = (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def read_literal(tensor: Tensor, text: str, where: str) -> Array:
    """Reads a value, of shape [], or a nested list of JSON. Raises BadRequest."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    except RecursionError:
        raise BadRequest(f"{where}: the lists are nested too deeply: give it as @FILE.npy") from None
    if tensor.datatype == "BYTES" and not isinstance(value, str | list):
        value = text
    shape, values = _flat(value, where)
    try:
        return from_values(tensor, shape, values, where)
    except BadTensor as error:
        raise BadTensor(
            f"{error}: write a number, a JSON list or @file.npy with values for {tensor.name}"
        ) from None


def read_npy(tensor: Tensor, path: Path, where: str) -> Array:
    """Reads the array of a .npy file unchanged.

    Raises BadRequest if it is unreadable or of another datatype.
    """
    array = _loaded(path, where, "numpy.save")
    if not isinstance(array, np.ndarray):
        array.close()
        raise BadRequest(f"{where}: {path} contains several arrays: give it by --samples")
    return _typed(tensor, array, where)


def read_npz(path: Path, tensors: Callable[[str], Tensor]) -> dict[str, Array]:
    """Reads the arrays of a .npz file by input; `tensors` returns an input by its name, or raises."""
    where = f"--samples {path}"
    file = _loaded(path, where, "numpy.savez")
    if isinstance(file, np.ndarray):
        raise BadRequest(
            f"{where}: contains one array without the name of its input: write it by numpy.savez"
        )
    found = {}
    with file:
        for name in file.files:
            tensor = tensors(name)
            try:
                array = file[name]
            except (*_DAMAGED, OSError) as error:
                raise BadRequest(
                    f"{where}: {name} cannot be read ({error}): write it by numpy.savez"
                ) from error
            if not isinstance(array, np.ndarray):  # NumPy returns the bytes of a member that is not an array
                raise BadRequest(f"{where}: {name} is not an array: write it by numpy.savez")
            found[name] = _typed(tensor, array, f"{where}: {name}")
    if not found:
        raise BadRequest(f"{where}: contains no arrays: write it by numpy.savez, with inputs as names")
    return found


@contextmanager
def file_in_memory(data: Blob) -> Iterator[Path]:
    """A file with these bytes that is on no disk, as long as the context lasts."""
    with os.fdopen(os.memfd_create("samples"), "wb") as file:
        file.write(data)
        file.flush()
        yield Path(f"/proc/self/fd/{file.fileno()}")


def plain(array: Array) -> Array:
    """An array without Python objects, which a .npz file cannot hold: texts as NumPy has them."""
    if array.dtype != object:
        return array
    words = [w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in array.ravel()]
    return np.array(words, str).reshape(array.shape)


def _loaded(path: Path, where: str, how: str) -> Any:  # noqa: ANN401
    try:
        return np.load(path, allow_pickle=False)
    except OSError as error:
        raise BadRequest(f"{where}: {path} cannot be read ({error.strerror or error})") from error
    except _DAMAGED as error:
        raise BadRequest(f"{where}: {path} is not a file of plain arrays: write it by {how}") from error


def _typed(tensor: Tensor, array: Array, where: str) -> Array:
    wanted = NUMPY_TYPES[tensor.datatype]
    if tensor.datatype == "BYTES" and array.dtype.kind in "US":
        words = [w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in array.ravel()]
        return np.array([*words, None], object)[:-1].reshape(array.shape)
    if array.dtype != wanted:
        fix = "save strings" if tensor.datatype == "BYTES" else f"save it after .astype(numpy.{wanted.name})"
        raise BadRequest(f"{where}: {array.dtype} values, but {tensor.name} has {tensor.datatype}: {fix}")
    return np.ascontiguousarray(array).reshape(array.shape)


def _flat(value: Any, where: str) -> tuple[tuple[int, ...], list[Any]]:  # noqa: ANN401
    """The shape of a nested list and its values in order."""
    if not isinstance(value, list):
        return (), [value]
    parts = [_flat(part, where) for part in value]
    inner = {shape for shape, _ in parts}
    if len(inner) > 1:
        raise BadRequest(f"{where}: nested lists differ in length: write equally many values in each")
    return (len(parts), *(inner.pop() if inner else ())), [v for _, values in parts for v in values]
