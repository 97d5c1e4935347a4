"""onnxruntime sessions with few threads and no spinning, warmed up when they are loaded."""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from math import inf, prod
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_runtime.errors import BadTensor, CannotLoad, ModelFailed
from edge_runtime.graph_analysis.properties import ProvenProperties
from edge_runtime.inference.alarms import ALARMS
from edge_runtime.inference.error_messages import told
from edge_runtime.inference.locales import lacking
from edge_runtime.inference.mapped_weights import HERE, Weights, divided
from edge_runtime.inference.native import NativeSession, RunOptions, library
from edge_runtime.inference.providers import CPU, VARIABLE, Provider, in_order, preferred, wanted
from edge_runtime.inference.shape_timing import ModelSource, is_steady
from edge_runtime.inference.slowdowns import Followed
from edge_runtime.tensors import NUMPY_TYPES, Array, Contract, Tensor, zeros

_log = logging.getLogger(__name__)

# onnxruntime's classes have no types.
Untyped = Any
Shapes = tuple[tuple[int, ...], ...]

_WARM_RUNS: Final = 2
_SHORT, _SHORT_RUNS = 0.005, 6
_WARM_ITEMS: Final = 2
_UNKNOWN: Final = 0.01  # seconds: too long for the event loop, until a run shows otherwise
_WARM_LIMIT: Final = 60.0
_SMOOTHING: Final = 0.05
_SHAPES: Final = 64
_SHAPE: Final[Callable[[Array], tuple[int, ...]]] = attrgetter("shape")
_BF16: Final = 16  # number of onnx.TensorProto
_DATATYPES: Final[Mapping[str, str]] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
# Outputs that onnxruntime's Python API cannot return if an input is a tensor of strings.
_UNTAKEN: Final = ("tensor(bfloat16)",)


class Halt:
    """Ends runs from another thread, at the next operator. `told` is called when they are ended."""

    __slots__ = ("_options", "told", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        self.told: Callable[[], None] | None = None
        self._options: dict[bool, Untyped] = {}

    def now(self) -> None:
        """Makes the runs with this halt raise ModelFailed."""
        self.wanted = True
        for options in list(self._options.values()):
            _end(options)
        told = self.told  # another thread may reset it
        if told is not None:
            told()

    def options(self, *, native: bool) -> Untyped:
        """The handle of a run for the C API (`native`) or the Python API."""
        options = self._options.get(native)
        if options is None:
            options = self._options[native] = RunOptions() if native else _run_options()
            if self.wanted:
                _end(options)
        return options

    @contextmanager
    def after(self, seconds: float) -> Iterator[None]:
        """Ends the runs inside the context after this many seconds."""
        cancel = ALARMS.after(seconds, self.now)
        try:
            yield
        finally:
            cancel()


class Session:
    """A loaded model or slice. `seconds`: recent time of a run; `size`: of its file; `packed`: its weights.

    warm_seconds: the time of a run at the warm-up, on inputs of `warm_shapes`; 0 without one. followed: how
    its runs compare with that, if anything does so.
    left_out: outputs that cannot be sent, each with its type; most are not tensors.
    proven: properties proven by its graph, which decide whether requests can be batched.
    runs_on_caller: whether a run computes on the calling thread only, whose CPU time is then the run's.
    """

    def __init__(
        self,
        model: ModelSource,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        threads: int = 1,
        proven: ProvenProperties | None = None,
        *,
        mapped: bool = False,
        packed: bool = True,
    ) -> None:
        """Raises CannotLoad if onnxruntime rejects the model, or it does not match the contract.

        inputs, outputs: the contract; by default the file's own. proven: by default derived from the graph.
        mapped: whether the weights of a large file, which must not change then, are mapped from it. packed:
        whether these are copied to the layout that is read fastest.
        """
        parts = divided(model, packed=packed) if mapped and isinstance(model, Path) else None
        self._session = _open(model, threads, (*(inputs or ()), *(outputs or ())), parts)
        self._unproven: ModelSource | None = model  # until it has run with several items
        self.packed = parts is None or packed
        self.size = model.stat().st_size if isinstance(model, Path) else len(model)
        self._native = isinstance(self._session, NativeSession)
        self.runs_on_caller = threads == 1 and list(self.providers) == [CPU.name]
        self.left_out: dict[str, str] = {}
        if inputs is None or outputs is None:
            inputs, outputs = self._described()
        else:
            have = tuple(
                {t.name for t in got} for got in (self._session.get_inputs(), self._session.get_outputs())
            )
            if have != ({t.name for t in inputs}, {t.name for t in outputs}):
                raise CannotLoad(
                    f"the slice's file has tensors {have}, but its placement has {inputs}, {outputs}"
                )
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.contract = Contract(self.inputs, self.outputs)
        self.proven = _proven_of(model) if proven is None else proven
        self._output_names = [t.name for t in self.outputs]
        self._by_value = not self._native and any(t.datatype == "BF16" for t in (*self.inputs, *self.outputs))
        self.seconds = self.warm_seconds = 0.0
        self.warm_shapes: Shapes | None = None
        self.followed: Followed | None = None
        self._steady = not any(t.datatype == "BYTES" for t in self.inputs) and is_steady(model)
        self._took: dict[Shapes, float] = {}

    @property
    def dimensions(self) -> Mapping[str, Sequence[int | str | None]]:
        """Dimensions of each input in the file: a size, or the name of an open one."""
        return {found.name: tuple(found.shape) for found in self._session.get_inputs()}

    @property
    def native(self) -> bool:
        """Whether it runs by onnxruntime's C API."""
        return self._native

    @property
    def providers(self) -> Sequence[str]:
        """Names of its execution providers, in order of preference."""
        if isinstance(self._session, NativeSession):
            return [CPU.name]
        found: Sequence[str] = self._session.get_providers()
        return found

    @property
    def metadata(self) -> Mapping[str, str]:
        """Metadata in the file, by key."""
        found: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        return found

    def run(
        self, feeds: Mapping[str, Array], names: Sequence[str] | None = None, halt: Halt | None = None
    ) -> list[Array]:
        """Outputs in the order of `names` (by default of `outputs`), for validated inputs.

        Fewer names save copies, not computation: onnxruntime runs the whole graph. Raises BadTensor if the
        model rejects the inputs' combination, and ModelFailed if it fails in another way.
        """
        if names is None:
            names = self._output_names
        try:
            options = halt.options(native=self._native) if halt is not None else None
            if self._by_value:
                return self._run_by_value(feeds, names, options)
            results: list[Array] = self._session.run(names, feeds, options)
        except Exception as error:  # onnxruntime's exceptions have no common base
            if halt is not None and halt.wanted:
                raise ModelFailed("the run was ended before it finished") from error
            if type(error).__name__ == "InvalidArgument":
                raise BadTensor(f"inputs: rejected by the model: {told(error)}") from error
            self._blame(feeds)
            raise ModelFailed(f"the model failed on these inputs: {told(error)}") from error
        return results

    def took(self, shapes: Shapes, seconds: float) -> None:
        """Adds a run of this duration on inputs of these shapes."""
        self.seconds += _SMOOTHING * (seconds - self.seconds)
        if self._steady:
            known = self._took.get(shapes)
            if known is None:
                if len(self._took) == _SHAPES:
                    self._took.clear()
                known = seconds
            self._took[shapes] = known + _SMOOTHING * (seconds - known)

    def expected(self, shapes: Shapes) -> float:
        """Seconds that a run on inputs of these shapes takes, for any values; infinite if that is not known:
        no such run was measured, or the duration depends on values.
        """
        return self._took.get(shapes, inf)

    def warm(
        self,
        feeds: Mapping[str, Array] | None = None,
        halt: Halt | None = None,
        limit: float = _WARM_LIMIT,
        *,
        once: bool = False,
        several: bool = True,
    ) -> None:
        """Runs on `feeds`, by default zeros, so that no request pays for first-time work; checks the outputs'
        shapes as well.

        Its measured time is the minimum of a few runs, because disturbances can multiply a short one; with
        `once`, that of the only run. A model with an open batch also runs with `several` items. Raises
        BadTensor and ModelFailed if the model rejects the feeds (it may accept others), and ModelFailed if
        the runs last longer than `limit` seconds or are halted.
        """
        feeds, seconds = zeros(self.inputs) if feeds is None else feeds, list[float]()
        self.seconds = _UNKNOWN
        halt = halt or Halt()
        try:
            with halt.after(limit):
                while _another(seconds, once=once):
                    start = time.perf_counter()
                    results = self.run(feeds, None, halt)
                    seconds.append(time.perf_counter() - start)
                self._check(results)
                if several:
                    self._run_several(feeds, halt)
        except ModelFailed as error:
            if not halt.wanted:
                raise
            raise ModelFailed(
                f"the warm-up was ended: it takes longer than {limit:g} s, or the server is shutting down"
            ) from error
        self.seconds = self.warm_seconds = min(seconds)
        self.warm_shapes = shapes_of(feeds)
        self.took(self.warm_shapes, self.seconds)

    def _check(self, results: Sequence[Array]) -> None:
        """Raises CannotLoad if outputs do not match the contract."""
        for tensor, result in zip(self.outputs, results, strict=True):
            if not tensor.fits(result.shape) or result.dtype != NUMPY_TYPES[tensor.datatype]:
                raise CannotLoad(
                    f"output {tensor.name} is {result.dtype} {list(result.shape)}, but the file declares "
                    f"{tensor.datatype} {list(tensor.shape)}: correct the declaration in the model's file"
                )

    def _run_several(self, feeds: Mapping[str, Array], halt: Halt) -> None:
        """Raises CannotLoad if only the optimized model fails with several items, as requests would later.

        A model that also fails without optimization takes one item only, whatever its file declares.
        """
        model, self._unproven = self._unproven, None
        open_ = {t.name for t in self.inputs if not t.any_rank and t.shape[:1] == (-1,)}
        if model is None or not open_:
            return
        several = {n: np.repeat(a, _WARM_ITEMS, axis=0) if n in open_ else a for n, a in feeds.items()}
        try:
            self.run(several, None, halt)
        except (BadTensor, ModelFailed) as error:
            if halt.wanted:
                raise
            if _runs_as_written(model, several):
                raise CannotLoad(
                    f"runs with one item, but fails with {_WARM_ITEMS} after onnxruntime's optimization "
                    f"({error}): use another cut or codec"
                ) from error

    def _blame(self, feeds: Mapping[str, Array]) -> None:
        """Raises BadTensor if inputs disagree about a size to which the model's file gives one name.

        Called only after a failure: files also use one name for sizes that can differ.
        """
        sizes: dict[str, tuple[int, str, int]] = {}
        for found in self._session.get_inputs():
            shape = feeds[found.name].shape
            for axis, (symbol, size) in enumerate(zip(found.shape, shape, strict=False)):
                if not isinstance(symbol, str) or not symbol:
                    continue
                first = sizes.setdefault(symbol, (size, found.name, axis))
                if first[0] != size:
                    raise BadTensor(
                        f"inputs: dimension {axis} of {found.name} is {size}, but dimension {first[2]} of "
                        f"{first[1]} is {first[0]}: both must be the model's {symbol}"
                    )

    def _run_by_value(
        self, feeds: Mapping[str, Array], names: Sequence[str], options: Untyped
    ) -> list[Array]:
        """Runs with values of onnxruntime's, the only form in which it takes and returns BF16."""
        import onnxruntime as ort

        inputs, outputs = self.contract.inputs_by_name, self.contract.outputs_by_name
        if not any(outputs[name].datatype == "BF16" for name in names):
            mixed = {name: _value(a) if inputs[name].datatype == "BF16" else a for name, a in feeds.items()}
            results: list[Array] = self._session.run(names, mixed, options)
            return results
        values = {
            name: _value(a) if inputs[name].datatype == "BF16" else ort.OrtValue.ortvalue_from_numpy(a)
            for name, a in feeds.items()
        }
        return [_array_of(v) for v in self._session.run_with_ort_values(names, values, options)]

    def _described(self) -> tuple[list[Tensor], list[Tensor]]:
        for found in self._session.get_inputs():
            if found.type not in _DATATYPES:
                raise CannotLoad(
                    f"input {found.name} has type {found.type}, for which the Open Inference Protocol has no "
                    f"datatype: use one of {', '.join(_DATATYPES.values())} and a Cast behind it"
                )
        # If inputs disagree about their first size, it is not known which one is the batch.
        called = [i.shape[0] for i in self._session.get_inputs() if i.shape]
        batched = len(called) == 1 or (len(set(called)) == 1 and isinstance(called[0], str))
        inputs = [_tensor(i, batched=batched) for i in self._session.get_inputs()]
        unknown = set(_UNTAKEN) if any(i.datatype == "BYTES" for i in inputs) else set()
        outputs = self._session.get_outputs()
        self.left_out = {o.name: o.type for o in outputs if o.type not in _DATATYPES.keys() - unknown}
        kept = [_tensor(o, batched=False) for o in outputs if o.name not in self.left_out]
        if not kept:
            raise CannotLoad(f"none of its outputs is a tensor that can be sent: {self.left_out}")
        return inputs, kept


def _proven_of(model: ModelSource) -> ProvenProperties:
    from edge_runtime.graph_analysis.analysis import proven_of  # only this needs onnx

    return proven_of(model)


def shapes_of(feeds: Mapping[str, Array]) -> Shapes:
    """The shapes by which a session's runs are distinguished."""
    return tuple(map(_SHAPE, feeds.values()))


@cache
def provider() -> Provider:
    """The execution provider of all sessions here: the first that is listed and available, else the CPU."""
    listed = wanted(os.environ.get(VARIABLE, ""))
    found = preferred(_available, listed)
    if found is not listed[0]:
        _log.warning("%s: onnxruntime here has no %s: %s is used", VARIABLE, listed[0].label, found.label)
    return found


def provider_fallback() -> bool:
    """Whether the provider is not the one that is preferred, which onnxruntime here does not have."""
    return provider() is not wanted(os.environ.get(VARIABLE, ""))[0]


def _available() -> list[str]:
    import onnxruntime as ort

    found: list[str] = ort.get_available_providers()
    return found


def engine_version() -> str:
    """The installed version of onnxruntime."""
    native = library()
    if native is not None:
        return native.version
    import onnxruntime as ort

    version: str = ort.__version__
    return version


def _another(seconds: Sequence[float], *, once: bool) -> bool:
    """Whether to measure another run after those with these durations."""
    if once:
        return not seconds
    return len(seconds) < _WARM_RUNS or (len(seconds) < _SHORT_RUNS and seconds[-1] < _SHORT)


def _open(
    model: ModelSource, threads: int, contract: Sequence[Tensor], parts: tuple[bytes, Weights] | None
) -> Untyped:
    """Opens a model, by onnxruntime's C API if its contract allows it. parts: for mapped weights."""
    if parts is not None:
        try:
            return _opened(parts[0], threads, contract, parts[1])
        except Exception as error:  # onnxruntime's exceptions have no common base
            _log.debug("%s cannot be loaded with mapped weights: %s", model, told(error))
    try:
        return _opened(model, threads, contract)
    except Exception as error:  # onnxruntime's exceptions have no common base
        why = lacking(str(error)) or told(error)
        try:  # some valid models fail in its optimizations
            written = _open_in_python(model, threads, optimized=False)
        except Exception:
            raise CannotLoad(lacking(str(error)) or f"onnxruntime cannot load it: {why}") from error
        _log.warning("onnxruntime cannot optimize it (%s): it runs unoptimized, which is slower", why)
        return written


def _opened(model: ModelSource, threads: int, contract: Sequence[Tensor], weights: Weights = HERE) -> Untyped:
    native = library() if contract else None
    if (
        native is not None
        and provider().native
        and not isinstance(model, Path)
        and "BYTES" not in {t.datatype for t in contract}
    ):
        return NativeSession(native, model, threads, weights)
    return _open_in_python(model, threads, weights)


def _runs_as_written(model: ModelSource, feeds: Mapping[str, Array]) -> bool:
    try:
        _open_in_python(model, 1, optimized=False).run(None, dict(feeds))
    except Exception:  # onnxruntime's exceptions have no common base
        return False
    return True


def _open_in_python(
    model: ModelSource, threads: int, weights: Weights = HERE, *, optimized: bool = True
) -> Untyped:
    import onnxruntime as ort

    options = ort.SessionOptions()
    if not weights.packed:  # no layouts of their own
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A spinning thread on a throttled node uses up the quota that the next request needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for key, value in weights.settings.items():
        options.add_session_config_entry(key, value)
    options.log_severity_level = 4  # errors are raised, and logged once
    source = str(model) if isinstance(model, Path) else bytes(model)
    return ort.InferenceSession(source, options, providers=in_order(provider()))


def _run_options() -> Untyped:
    import onnxruntime as ort

    options = ort.RunOptions()
    options.log_severity_level = 4
    return options


def _end(options: Untyped) -> None:
    if isinstance(options, RunOptions):
        options.end()
    else:
        options.terminate = True


def _tensor(found: Untyped, *, batched: bool) -> Tensor:
    """An input or output as onnxruntime describes it, with an empty shape also for an unknown rank."""
    shape = tuple(d if isinstance(d, int) and d >= 0 else -1 for d in found.shape)
    return Tensor(found.name, _DATATYPES[found.type], shape, any_rank=not shape, batched=batched)


def _value(bits: Array) -> Untyped:
    """The bits of BF16 as a value of onnxruntime's."""
    import onnxruntime as ort

    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(bits), _BF16)


def _array_of(value: Untyped) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    shape = value.shape()
    bits = (ctypes.c_uint16 * prod(shape)).from_address(value.data_ptr())
    return np.frombuffer(bits, np.uint16).reshape(shape).copy()  # its memory is freed with the value
