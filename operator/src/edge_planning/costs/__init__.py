"""What running a model costs: time, waiting, energy, bytes, memory; and how sure that is."""

from edge_planning.costs.classes import DESKTOP, RASPBERRY_PI_3, DeviceClass
from edge_planning.costs.estimates import Estimate, Source, class_profile, layer_times
from edge_planning.costs.regressions import Regression

__all__ = [
    "DESKTOP",
    "RASPBERRY_PI_3",
    "DeviceClass",
    "Estimate",
    "Regression",
    "Source",
    "class_profile",
    "layer_times",
]
