"""Nodes that compute slower or faster than the others of their device class, and by what factor.

The median of a node's ratios of measured to predicted time is compared with that of the class: the lower
median of those of all its nodes, and of 1, which is what was measured for the class. A class of one node, or
of two of which one is slow, is thus compared with the measurement; a class that is slow as a whole is not
unlike itself, and its margin covers it.
"""

from collections.abc import Mapping
from statistics import median, median_low

from edge_planning.errors import require

UNLIKE = 1.3
"""Factor from which on a node is unlike its class (a choice: noise of busy nodes stays below it)."""
ALIKE = 1.15
"""Factor below which a node that was unlike its class is like it again."""


def node_factors(medians: Mapping[str, Mapping[str, float]], before: Mapping[str, float]) -> dict[str, float]:
    """Returns the factors of the nodes that are unlike their class.

    medians: by node and exit, the median ratio of measured to predicted time. before: the factors until now;
    they stay within [1 / ALIKE, ALIKE] of a changed one, so that noise does not change them.

    Raises:
        BadValueError: A median is not above 0.
    """
    for node, found in medians.items():
        bad = next((each for each in found.values() if not each > 0), None)
        require(bad is None, f"node {node}: median ratio {bad} must be > 0")
    exits = {exit_ for found in medians.values() for exit_ in found}
    usual = {
        exit_: median_low([1.0, *(found[exit_] for found in medians.values() if exit_ in found)])
        for exit_ in exits
    }
    factors = {}
    for node, found in medians.items():
        if not found:
            continue
        factor, known = median(ratio / usual[exit_] for exit_, ratio in found.items()), before.get(node)
        limit = UNLIKE if known is None else ALIKE
        if 1 / limit < factor < limit:
            continue
        steady = known is not None and 1 / ALIKE <= factor / known <= ALIKE
        factors[node] = known if known is not None and steady else float(f"{factor:.2g}")
    return factors
