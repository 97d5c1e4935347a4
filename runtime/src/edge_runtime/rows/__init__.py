"""Whether a model keeps the rows of its inputs apart, and whether it answers the same again: read from its
graph.

Requests are run together only where this is proven; `analysis.proven_of` is the one entrance.
"""
