"""Values of a tensor in each form of the protocol: raw bytes, JSON, typed fields.

No memory is allocated for a shape before the received data is checked against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import isfinite, prod
from typing import Any, Final

import numpy as np

from edge_api.words import shown_json
from edge_runtime.errors import BadTensor
from edge_runtime.json_values import Json
from edge_runtime.protocol.nonfinite import Constant, written
from edge_runtime.tensors import NUMPY_TYPES, Array, Tensor, width

LARGEST_REQUEST: Final = 64 << 20
_SMALL: Final = 1 << 12
_LENGTH: Final = 4
_BF16_NAN: Final = 0x7FC0
_ALLOWED: Final[dict[str, frozenset[type]]] = {
    "b": frozenset((bool,)),
    "i": frozenset((int,)),
    "u": frozenset((int,)),
    "f": frozenset((int, float, Constant)),
    "O": frozenset((str, bytes)),  # bytes in typed fields, text in JSON
}


def check_shape(tensor: Tensor, shape: Json, datatype: Json, where: str) -> tuple[int, ...]:
    """Returns the concrete shape. Raises BadTensor if it or the datatype does not match the tensor.

    A shape whose values could not be sent in one request is refused, too. A scalar can have the shape [1], as
    Triton has it, which knows no tensors without dimensions.
    """
    if datatype != tensor.datatype:
        raise BadTensor(f"{where}.datatype: {shown_json(datatype)}, but {tensor.name} has {tensor.datatype}")
    dims = tuple(shape) if isinstance(shape, list | tuple) else None
    if dims == (1,) and tensor.shape == () and not tensor.any_rank:
        return ()
    if dims is None or not all(type(d) is int for d in dims) or not tensor.fits(dims):
        hint = f", where {_open_sizes(tensor)}" if -1 in tensor.shape else ""
        raise BadTensor(
            f"{where}.shape: {shown_json(shape)}, but {tensor.name} has {list(tensor.shape)}{hint}"
        )
    # A size of 0 must not allow other sizes that could not be sent.
    if prod(max(d, 1) for d in dims) * width(datatype) > LARGEST_REQUEST:
        raise BadTensor(
            f"{where}.shape: {shown_json(shape)} exceeds a request of {LARGEST_REQUEST} bytes: "
            f"{tensor.name} has {list(tensor.shape)}"
        )
    return dims


def from_bytes(tensor: Tensor, shape: tuple[int, ...], raw: bytes | memoryview, where: str) -> Array:
    """An array over raw bytes, without a copy for numeric datatypes. Raises BadTensor if the number of bytes
    does not match the shape.
    """
    if tensor.datatype == "BYTES":
        return _texts(list(_split_words(raw, prod(shape), where)), shape, where)
    dtype = NUMPY_TYPES[tensor.datatype]
    want = prod(shape) * dtype.itemsize
    if len(raw) != want:
        raise BadTensor(f"{where}: {len(raw)} bytes, but {tensor.datatype}{list(shape)} needs {want}")
    if tensor.datatype == "BOOL":  # bytes other than 0 and 1 would be invalid bools
        return np.not_equal(np.frombuffer(raw, np.uint8), 0).reshape(shape)
    return np.frombuffer(raw, dtype).reshape(shape)


def from_json(tensor: Tensor, shape: tuple[int, ...], data: Json, where: str) -> Array:
    """An array of flat or nested JSON values. Raises BadTensor unless they are exactly of the datatype."""
    if not isinstance(data, list):
        raise BadTensor(f"{where}.data: {shown_json(data)} is not a list of values")
    flat = _flat(data, tensor, where)
    if len(flat) != prod(shape):
        raise BadTensor(f"{where}.data: {len(flat)} values, but shape {list(shape)} needs {prod(shape)}")
    array = from_values(tensor, shape, flat, f"{where}.data")
    if not _finite(tensor.datatype, array) and (
        beyond := next((v for v in flat if type(v) is float and not isfinite(v)), None)
    ):
        raise BadTensor(f"{where}.data: not {tensor.datatype} values (a number is too large: {beyond:+})")
    return array


def from_values(tensor: Tensor, shape: tuple[int, ...], values: Sequence[Any], where: str) -> Array:
    """An array of as many Python values as the shape needs. Raises BadTensor for one of another datatype."""
    dtype = NUMPY_TYPES[tensor.datatype]
    kind = "f" if tensor.datatype == "BF16" else dtype.kind
    found = set(map(type, values))
    if not found <= _ALLOWED[kind]:
        wrong = next(v for v in values if type(v) not in _ALLOWED[kind])
        raise BadTensor(f"{where}: not {tensor.datatype} values ({shown_json(wrong)})")
    try:
        if kind == "O":
            return _texts(values, shape, where)
        if kind != "f":
            return np.array(values, dtype=dtype).reshape(shape)
        with np.errstate(over="raise"):
            wide = np.array(values, dtype=np.float64)
            if tensor.datatype == "BF16":
                return _to_bf16(wide.astype(np.float32)).reshape(shape)
            return wide.astype(dtype, copy=False).reshape(shape)
    except (FloatingPointError, OverflowError) as error:
        wrong = _beyond(values, dtype)
        how = "too small" if wrong < 0 and kind != "f" else "too large"
        raise BadTensor(f"{where}: not {tensor.datatype} values ({shown_json(wrong)} is {how})") from error


def to_raw(datatype: str, array: Array) -> bytes | memoryview:
    """The values in binary form; a view of a large array if possible."""
    if datatype == "BYTES":
        words = [_bytes_of(value) for value in array.ravel()]
        return b"".join(part for word in words for part in (len(word).to_bytes(_LENGTH, "little"), word))
    if array.nbytes <= _SMALL:  # copying takes less time than a view
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def to_json(datatype: str, array: Array) -> Json:
    """The values for a JSON encoder, flat."""
    if datatype == "BYTES":
        return [_bytes_of(value).decode("utf-8", "replace") for value in array.ravel()]
    if datatype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat if _finite(datatype, flat) else written(flat)


def _open_sizes(tensor: Tensor) -> str:
    """The sizes that -1 stands for."""
    if not tensor.has_batch:
        return "-1 is any size of 0 or more"
    others = (
        " for the batch, the first dimension, and of 0 or more for others" if -1 in tensor.shape[1:] else ""
    )
    return f"-1 is any size of 1 or more{others}"


def _flat(data: list[Any], tensor: Tensor, where: str) -> list[Any]:
    kinds = set(map(type, data))
    while list in kinds:
        if len(kinds) > 1 or len(set(map(len, data))) > 1:
            raise BadTensor(f"{where}.data: not {tensor.datatype} values (nested lists differ in length)")
        data = list(chain.from_iterable(data))
        kinds = set(map(type, data))
    return data


def _split_words(raw: bytes | memoryview, count: int, where: str) -> Sequence[bytes]:
    """`count` byte strings, each prefixed by its length in 4 bytes, little endian."""
    if count * _LENGTH > len(raw):
        raise BadTensor(f"{where}: {len(raw)} bytes, but {count} byte strings need at least {4 * count}")
    words, at = [], 0
    for i in range(count):
        end = at + _LENGTH + int.from_bytes(raw[at : at + _LENGTH], "little")
        if at + _LENGTH > len(raw) or end > len(raw):
            raise BadTensor(f"{where}: byte string {i} ends beyond the {len(raw)} bytes of the data")
        words.append(bytes(raw[at + _LENGTH : end]))
        at = end
    if at != len(raw):
        raise BadTensor(f"{where}: {len(raw) - at} bytes follow byte string {count - 1}")
    return words


def _texts(values: Sequence[str | bytes], shape: tuple[int, ...], where: str) -> Array:
    """An array of str, onnxruntime's form of a tensor of strings, which are UTF-8 by ONNX's definition."""
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        try:
            array[i] = value.decode() if isinstance(value, bytes) else value.encode().decode()
        except (UnicodeDecodeError, UnicodeEncodeError) as error:
            raise BadTensor(f"{where}: byte string {i} is not UTF-8 ({error.reason})") from error
    return array.reshape(shape)


def _bytes_of(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def _to_bf16(wide: Array) -> Array:
    """The nearest BF16 of each FP32, ties to even, as bits."""
    bits = wide.view(np.uint32)
    rounded: Array = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    rounded[np.isnan(wide)] = _BF16_NAN
    if np.any((rounded & 0x7F80) == 0x7F80, where=np.isfinite(wide)):
        raise OverflowError("would round to infinity")
    return rounded


def _finite(datatype: str, array: Array) -> bool:
    if datatype == "BF16" and array.dtype == np.uint16:
        return not np.any((array & 0x7F80) == 0x7F80)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _beyond(values: Sequence[Any], dtype: np.dtype[Any]) -> Any:  # noqa: ANN401 - any number
    """The number that is farthest outside the datatype's range."""
    numbers = [v for v in values if isinstance(v, int) or isfinite(v)]
    lowest = np.iinfo(dtype).min if dtype.kind in "iu" else 0
    below = [v for v in numbers if dtype.kind in "iu" and v < lowest]
    return min(below) if below else max(numbers, key=abs)
