"""Rules of the operators that keep rows separate, and along which axes.

Importing this package fills the table; an operator without a rule is treated as mixing rows.
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
