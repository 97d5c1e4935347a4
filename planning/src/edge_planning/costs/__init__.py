"""The cost of running a model: compute time, waiting time and energy, with their uncertainty.

- classes: device classes, and the two that Edgent published
- profiles: costs of a model on a device class, as measured
- variables: independent variables of a layer's latency regression
- regressions, fitting: linear models of latency, and their fit to measurements
- estimates: seconds of layers, measured, regressed or from FLOPs; profiles of unmeasured models
- operators, operator_times: operators that an engine runs after optimization, and their times on a class
- curves, shapes: seconds and bytes as functions of the shape of a request
- queueing: waiting times at shared nodes, uplinks and Triton servers
- margins: factors from a predicted mean to a percentile
- node_factors: nodes that are unlike their device class
- energy: radios, with their energy model
"""
