"""Prometheus rules and Grafana dashboards, written into the chart by `python -m edge_monitoring.generate`.

They name the metrics of docs/metrics.md; nothing in a cluster imports this package.
"""
