"""`ei doctor`: a state of the cluster is gathered once, then pure checks find what is wrong in it."""
