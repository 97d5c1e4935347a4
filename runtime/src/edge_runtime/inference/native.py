"""onnxruntime by its C API, which unlike the Python API releases the interpreter's lock.

The Python API holds the lock for much of the time in which a session is created, which blocks the event loop:
for 20 ms and more with 48 MB of weights. Here only the interpreter's own work needs the lock, and a separate
thread creates and frees sessions. onnxruntime's wheel contains the library; without it, or for tensors of
strings, `sessions` uses the Python API.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from mmap import mmap
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_runtime.inference.heap import HeapThread, keep_large_blocks_apart, trim_heap
from edge_runtime.inference.mapped_weights import HERE, Weights
from edge_runtime.tensors import Array

_VERSION: Final = (
    14  # of the API, the first with nearly all functions; their places are stable across versions
)
_QUIET: Final = 4
_INVALID_ARGUMENT: Final = 2
_ARENA: Final = 1
_WITHOUT_LAYOUTS: Final = 2  # optimizes the graph, but does not convert weights to another layout
_BF16: Final = 16
# Numbers of onnx.TensorProto. BF16 is passed as its bits.
_TYPES: Final[Mapping[int, tuple[str, np.dtype[Any]]]] = {
    number: (f"tensor({name})", np.dtype(dtype))
    for number, name, dtype in (
        (1, "float", np.float32),
        (2, "uint8", np.uint8),
        (3, "int8", np.int8),
        (4, "uint16", np.uint16),
        (5, "int16", np.int16),
        (6, "int32", np.int32),
        (7, "int64", np.int64),
        (9, "bool", np.bool_),
        (10, "float16", np.float16),
        (11, "double", np.float64),
        (12, "uint32", np.uint32),
        (13, "uint64", np.uint64),
        (_BF16, "bfloat16", np.uint16),
    )
}

Pointer = c_void_p


class InvalidArgument(Exception):  # noqa: N818 - as onnxruntime's Python interface calls it
    """The model rejects its inputs."""


class Failed(Exception):  # noqa: N818
    """Any other error of onnxruntime."""


@dataclass(frozen=True, slots=True)
class Described:
    """An input or output. Each size is a number, the file's name of an open dimension, or None."""

    name: str
    type: str
    shape: list[int | str | None]


class Library:
    """Functions of the C API by their index in its table.

    `_now` are short and keep the interpreter's lock, which is faster than releasing it; `_long` release it.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        library.OrtGetApiBase.restype = POINTER(c_void_p)
        base = library.OrtGetApiBase()
        get_api = ctypes.CFUNCTYPE(c_void_p, ctypes.c_uint32)(base[0])
        self.version: str = ctypes.CFUNCTYPE(c_char_p)(base[1])().decode()
        table = get_api(_VERSION)
        if not table:
            raise OSError(f"{path} does not support version {_VERSION} of its API")
        self._table = (c_void_p * 170).from_address(table)
        pointer, count = c_void_p, c_size_t
        self._message = self._now(2, pointer, result=c_char_p)
        self._code = self._now(1, pointer, result=c_int)
        self._release_status = self._now(93, pointer, result=None)
        self.create_session = self._long(8, pointer, pointer, count, pointer, pointer)
        self.run = self._long(9, *(pointer,) * 4, count, pointer, count, pointer)
        self.release_session = self._long(95, pointer, result=None)
        self.create_options = self._now(10, pointer)
        self.release_options = self._now(100, pointer, result=None)
        self.set_log_severity = self._now(22, pointer, c_int)
        self.set_optimization = self._now(23, pointer, c_int)
        self.set_threads = self._now(24, pointer, c_int)
        self.add_config = self._now(130, pointer, c_char_p, c_char_p)
        self.count = {False: self._now(30, pointer, pointer), True: self._now(31, pointer, pointer)}
        typed, named = (pointer, count, pointer), (pointer, count, pointer, pointer)
        self.type_info = {False: self._now(33, *typed), True: self._now(34, *typed)}
        self.name = {False: self._now(36, *named), True: self._now(37, *named)}
        self.create_run_options = self._now(39, pointer)
        self.set_run_severity = self._now(41, pointer, c_int)
        self.terminate = self._now(46, pointer)
        self.release_run_options = self._now(97, pointer, result=None)
        self.tensor = self._now(49, pointer, pointer, count, pointer, count, c_int, pointer)
        self.data = self._now(51, pointer, pointer)
        self.tensor_info = self._now(55, pointer, pointer)
        self.element_type = self._now(60, pointer, pointer)
        self.rank = self._now(61, pointer, pointer)
        self.sizes = self._now(62, pointer, pointer, count)
        self.size_names = self._now(63, pointer, pointer, count)
        self.shape = self._now(65, pointer, pointer)
        self.free = self._now(76, pointer, pointer)
        self.release_value = self._now(96, pointer, result=None)
        self.release_type_info = self._now(98, pointer, result=None)
        self.release_shape = self._now(99, pointer, result=None)
        self.environment = self.made(self._now(3, c_int, c_char_p, pointer), _QUIET, b"edge")
        self.memory = self.made(self._now(69, c_int, c_int, pointer), _ARENA, 0)
        self.allocator = self.made(self._now(78, pointer))
        keep_large_blocks_apart()
        self.heap = HeapThread()

    def check(self, status: int | None) -> None:
        """Raises the error of a call."""
        if status:
            text, code = self._message(status).decode(errors="replace"), self._code(status)
            self._release_status(status)
            raise InvalidArgument(text) if code == _INVALID_ARGUMENT else Failed(text)

    def made(self, function: Callable[..., int | None], *arguments: object) -> Pointer:
        """Calls a function and returns the pointer that it stores in its last argument."""
        found = Pointer()
        self.check(function(*arguments, byref(found)))
        return found

    # ctypes publishes no types for its types.
    def _now(self, place: int, *arguments: Any, result: Any = c_void_p) -> Callable[..., Any]:  # noqa: ANN401
        return ctypes.PYFUNCTYPE(result, *arguments)(self._table[place] or 0)

    def _long(self, place: int, *arguments: Any, result: Any = c_void_p) -> Callable[..., Any]:  # noqa: ANN401
        return ctypes.CFUNCTYPE(result, *arguments)(self._table[place] or 0)


@cache
def library() -> Library | None:
    """The library of the installed onnxruntime; None if it has none, or an older one."""
    found = find_spec("onnxruntime")
    folders = found.submodule_search_locations if found is not None else None
    for folder in folders or ():
        for path in sorted(Path(folder, "capi").glob("libonnxruntime.so*")):
            try:
                return Library(path)
            except (OSError, AttributeError):
                continue
    return None


def creating_threads() -> list[int]:
    """The kernel's numbers of the threads that create sessions, unless it is the caller's."""
    found = library()
    return [found.heap.number] if found is not None else []


def return_unused_memory() -> None:
    """Returns memory that malloc retains, after freeing the sessions that wait for that. Blocking."""
    found = library()
    if found is not None:
        found.heap.trim()
    else:
        trim_heap()


class RunOptions:
    """A handle that ends runs."""

    def __init__(self) -> None:
        found = library()
        assert found is not None
        self._library, self.pointer = found, found.made(found.create_run_options)
        found.check(found.set_run_severity(self.pointer, _QUIET))

    def end(self) -> None:
        """Makes the runs with this handle fail at the next operator."""
        self._library.check(self._library.terminate(self.pointer))

    def __del__(self) -> None:
        if hasattr(self, "pointer"):
            self._library.release_run_options(self.pointer)


class NativeSession:
    """A model without tensors of strings; has the methods of onnxruntime's InferenceSession."""

    def __init__(self, library: Library, model: bytes | mmap, threads: int, weights: Weights = HERE) -> None:
        self._library, self._size = library, max(len(model), weights.size)
        self._session = library.heap.call(lambda: _created(library, model, threads, weights), self._size)
        self._inputs, self._outputs = self._described(outputs=False), self._described(outputs=True)
        numbers = {name: number for number, (name, _) in _TYPES.items()}
        self._types = {i.name: (numbers[i.type], _TYPES[numbers[i.type]][1]) for i in self._inputs}
        self._lists: dict[tuple[str, ...], ctypes.Array[c_char_p]] = {}

    def __del__(self) -> None:
        if hasattr(self, "_session"):
            release, session = self._library.release_session, self._session
            self._library.heap.later(lambda: release(session), self._size)

    def get_inputs(self) -> list[Described]:
        """Inputs as declared in the file."""
        return self._inputs

    def get_outputs(self) -> list[Described]:
        """Outputs as declared in the file."""
        return self._outputs

    def run(
        self, names: Sequence[str], feeds: Mapping[str, Array], options: RunOptions | None = None
    ) -> list[Array]:
        """Returns the named outputs in memory of onnxruntime's. Raises InvalidArgument and Failed."""
        library, count = self._library, len(names)
        wanted, given = self._list(names), self._list(feeds)
        held = []  # keeps the memory behind the inputs' pointers alive
        inputs, outputs = (c_void_p * len(feeds))(), (c_void_p * count)()
        try:
            for i, (name, array) in enumerate(feeds.items()):
                known = self._types.get(name)
                if known is None or array.dtype != known[1]:
                    raise InvalidArgument(f"input {name} is {array.dtype}, the model reads {known}")
                whole = np.ascontiguousarray(array)
                held.append(whole)
                shape = (c_int64 * array.ndim)(*array.shape)
                at = whole.__array_interface__["data"][0]
                inputs[i] = library.made(
                    library.tensor, library.memory, at, whole.nbytes, shape, array.ndim, known[0]
                ).value
            session, pointer = self._session, options.pointer if options is not None else None
            library.check(library.run(session, pointer, given, inputs, len(feeds), wanted, count, outputs))
            return [self._taken(outputs, i) for i in range(count)]
        finally:
            for value in (*inputs, *outputs):
                if value:
                    library.release_value(value)

    def _taken(self, values: ctypes.Array[c_void_p], at: int) -> Array:
        """Moves the value at this index into an array that owns it."""
        library, value = self._library, values[at] or 0
        info = library.made(library.shape, value)
        rank, number = c_size_t(), c_int()
        library.check(library.rank(info, byref(rank)))
        sizes = (c_int64 * rank.value)()
        library.check(library.sizes(info, sizes, rank))
        library.check(library.element_type(info, byref(number)))
        library.release_shape(info)
        if number.value not in _TYPES:
            raise Failed(f"an output has elements of type {number.value}")
        shape, dtype = tuple(sizes), _TYPES[number.value][1]
        if 0 in shape:
            return np.empty(shape, dtype)
        address = library.made(library.data, value).value or 0
        values[at] = None
        return np.asarray(_Value(library.release_value, value, address, shape, dtype))

    def _list(self, names: Sequence[str] | Mapping[str, Array]) -> ctypes.Array[c_char_p]:
        key = tuple(names)
        known = self._lists.get(key)
        if known is None:
            known = self._lists[key] = (c_char_p * len(key))(*(name.encode() for name in key))
        return known

    def _described(self, *, outputs: bool) -> list[Described]:
        library, count = self._library, c_size_t()
        library.check(library.count[outputs](self._session, byref(count)))
        return [self._describe(outputs=outputs, at=i) for i in range(count.value)]

    def _describe(self, *, outputs: bool, at: int) -> Described:
        library = self._library
        text = library.made(library.name[outputs], self._session, at, library.allocator)
        name = ctypes.string_at(text).decode()
        library.check(library.free(library.allocator, text))
        info = library.made(library.type_info[outputs], self._session, at)
        try:
            tensor = library.made(library.tensor_info, info)
            number, rank = c_int(), c_size_t()
            if tensor.value:
                library.check(library.element_type(tensor, byref(number)))
            if number.value not in _TYPES:
                raise Failed(f"{name} is not a tensor of numbers")
            library.check(library.rank(tensor, byref(rank)))
            sizes, called = (c_int64 * rank.value)(), (c_char_p * rank.value)()
            library.check(library.sizes(tensor, sizes, rank))
            library.check(library.size_names(tensor, called, rank))
            open_ = [text.decode() or None if text else None for text in called]
            shape = [size if size >= 0 else symbol for size, symbol in zip(sizes, open_, strict=True)]
            return Described(name, _TYPES[number.value][0], shape)
        finally:
            library.release_type_info(info)


def _created(library: Library, model: bytes | mmap, threads: int, weights: Weights) -> Pointer:
    """Creates a session. Run on the heap's thread, as a whole: its caller may be interrupted."""
    options = library.made(library.create_options)
    held = model if isinstance(model, bytes) else c_char.from_buffer(model)
    try:
        library.check(library.set_threads(options, threads))
        library.check(library.set_log_severity(options, _QUIET))
        for key, value in {"session.intra_op.allow_spinning": "0", **weights.settings}.items():
            library.check(library.add_config(options, key.encode(), value.encode()))
        if not weights.packed:
            library.check(library.set_optimization(options, _WITHOUT_LAYOUTS))
        data = held if isinstance(held, bytes) else ctypes.addressof(held)
        return library.made(library.create_session, library.environment, data, len(model), options)
    finally:
        del held  # else an error would hold it, and the caller could not close the memory
        library.release_options(options)


class _Value:
    """A value of onnxruntime's as NumPy memory; it is freed with the last array on it."""

    __slots__ = ("__array_interface__", "_release", "_value")

    def __init__(
        self,
        release: Callable[[int], None],
        value: int,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._release, self._value = release, value
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (address, False),
        }

    def __del__(self) -> None:
        self._release(self._value)
