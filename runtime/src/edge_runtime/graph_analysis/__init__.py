"""Static analysis of a model's graph: whether requests can share a batch, and whether outputs are repeatable.

Requests are batched only where the analysis proves it safe. `analysis.proven_of` is the entry point.
"""
