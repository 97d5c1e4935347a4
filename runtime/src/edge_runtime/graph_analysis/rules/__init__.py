"""The operators that are known to keep rows apart, and the axes on which they do.

Importing this fills the table; an operator that is missing in it keeps nothing apart.
"""

from edge_runtime.graph_analysis.rules import (
    elementwise,
    fused,
    normalising,
    products,
    recurrent,
    selecting,
    shaping,
    tabular,
)

__all__ = ["elementwise", "fused", "normalising", "products", "recurrent", "selecting", "shaping", "tabular"]
