"""Models that refuse generated inputs: measured on the inputs of first requests, which stay in memory."""
