"""All cuts over one hop of small blocks, listed once per model: few blocks of real models have many."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_planning.partitioning.flows import Bools, Floats, Ints

MOST = 256  # maximum number of cuts of a block that are listed


@dataclass(frozen=True, slots=True, eq=False)
class Closures:
    """late: Whether a layer is behind a cut [cuts, layers of the block]. crossing: Bytes [cuts]."""

    late: NDArray[np.float64]
    crossing: Floats


def closures_of(
    starts: Sequence[int], lasts: Sequence[int], size: Floats, producer: Ints, tensor_of: Ints, reader: Ints
) -> tuple[Closures | None, ...]:
    """Returns the cuts by block; None for blocks of one layer and for blocks with more than MOST cuts.

    Pairs of (tensor, reader) must be ordered by reader. Blocks of one shape share their list.
    """
    cuts = [*np.searchsorted(reader, starts).tolist(), len(reader)]
    known = dict[tuple[int, bytes, bytes, bytes], tuple[NDArray[np.float64], Bools, Ints] | None]()
    found: list[Closures | None] = []
    for block, (start, last) in enumerate(zip(starts, lasts, strict=True)):
        if last == start or last - start > MOST:
            found.append(None)
            continue
        pairs = slice(cuts[block], cuts[block + 1])
        tensors = tensor_of[pairs]
        makers, readers = np.maximum(producer[tensors] - start, -1), reader[pairs] - start
        key = (last - start, (tensors - tensors[0]).tobytes(), makers.tobytes(), readers.tobytes())
        if key not in known:
            known[key] = _listed(last - start + 1, tensors, makers, readers)
        shape = known[key]
        found.append(None if shape is None else Closures(shape[0], shape[1] @ size[tensors[shape[2]]]))
    return tuple(found)


def _listed(
    count: int, tensors: Ints, made: Ints, readers: Ints
) -> tuple[NDArray[np.float64], Bools, Ints] | None:
    """Returns late layers [cuts, layers], crossing tensors [cuts, tensors], and each tensor's first pair.

    `tensors`, `made` and `readers` have one entry per pair, with layers numbered within the block. The last
    layer is late in all cuts.
    """
    _, where, local = np.unique(tensors, return_index=True, return_inverse=True)
    late = np.zeros((1, count), dtype=bool)
    late[0, -1] = True
    for layer in range(count - 2, -1, -1):
        able = late[late[:, readers[made == layer]].all(axis=1)]
        able[:, layer] = True
        late = np.concatenate([late, able])
        if len(late) > MOST:
            return None
    read = np.zeros((len(late), len(where)), dtype=bool)
    for tensor, layer in zip(local.tolist(), readers.tolist(), strict=True):
        read[:, tensor] |= late[:, layer]
    early = np.concatenate([np.ones((len(late), 1), dtype=bool), ~late], axis=1)[:, made[where] + 1]
    return late.astype(float), read & early, where
