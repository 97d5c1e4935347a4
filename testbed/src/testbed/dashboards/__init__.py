"""The chart's dashboards against the testbed's Prometheus: their queries, and pictures of them.

- reading: what a dashboard asks, with its variables filled in. Pure.
- asking: sends queries to the Prometheus on the cloud side.
- drawing: a dashboard with its data as an HTML page. Pure.

`python -m testbed.dashboards` writes the pictures.
"""
