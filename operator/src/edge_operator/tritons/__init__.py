"""Triton servers: what they have loaded, how they are called, what fits into them."""
