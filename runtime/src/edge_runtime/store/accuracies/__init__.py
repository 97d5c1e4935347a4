"""How outputs are compared with what they should be; `store.accuracy_metrics` lists the metrics."""
