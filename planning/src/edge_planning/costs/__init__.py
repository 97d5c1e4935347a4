"""What running a model costs: time, waiting, energy; and how sure that is.

- classes: device classes, and the two that Edgent published
- profiles: what a model costs on a device class, as measured
- variables: what a layer's latency is regressed on
- regressions, fitting: linear models of latency, and how they come from measurements
- estimates: seconds of layers, measured, regressed or from FLOPs; profiles of what was not measured
- queueing: waiting at shared nodes, uplinks and Triton servers
- margins: what a prediction is multiplied by to be true for a percentile
- energy: joules of a request
- edgent: Edgent's AlexNet with five exits
"""
