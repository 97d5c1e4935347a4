"""The array types of this package."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
REFUSED = -1


def sums(rows: Integers, amounts: Floats, count: int) -> Floats:
    """Returns the sums of the amounts by row [count]."""
    return np.asarray(np.bincount(rows.ravel(), amounts.ravel(), count), dtype=np.float64)
