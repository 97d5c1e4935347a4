"""Assigns the layers of a model to ordered tiers (entry node, intermediate node, Triton) by minimum cut."""

from edge_planning.partitioning.envelopes import EnvelopeCut, envelope_cuts
from edge_planning.partitioning.partitions import Partition, PartitionProblem, Unpartitionable
from edge_planning.partitioning.solving import partition
from edge_planning.partitioning.structures import Structure, structure_of

__all__ = [
    "EnvelopeCut",
    "Partition",
    "PartitionProblem",
    "Structure",
    "Unpartitionable",
    "envelope_cuts",
    "partition",
    "structure_of",
]
