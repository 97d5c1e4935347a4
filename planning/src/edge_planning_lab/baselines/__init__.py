"""The published methods with which planning is compared, as policies over the same candidates."""

from edge_planning_lab.baselines.edgent import EdgentDynamic
from edge_planning_lab.baselines.hindsight import Oracle, clairvoyant, ranked_splits
from edge_planning_lab.baselines.measured import (
    AtMeasured,
    dads,
    dads_heavy,
    dads_light,
    edgent,
    neurosurgeon_energy,
    neurosurgeon_latency,
)
from edge_planning_lab.baselines.memoryless import (
    Fixed,
    RandomFeasible,
    cloud_only,
    local_only,
    right_sizing_only,
)
from edge_planning_lab.baselines.options import Power, SimulatedCandidates, options_of
from edge_planning_lab.baselines.policies import Answer, Measurement, Policy, Request

__all__ = [
    "Answer",
    "AtMeasured",
    "EdgentDynamic",
    "Fixed",
    "Measurement",
    "Oracle",
    "Policy",
    "Power",
    "RandomFeasible",
    "Request",
    "SimulatedCandidates",
    "clairvoyant",
    "cloud_only",
    "dads",
    "dads_heavy",
    "dads_light",
    "edgent",
    "local_only",
    "neurosurgeon_energy",
    "neurosurgeon_latency",
    "options_of",
    "ranked_splits",
    "right_sizing_only",
]
