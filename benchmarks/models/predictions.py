"""The plan's latency of a route at a shape of requests and a bandwidth, by the operator's own functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_api import ModelProfile
from edge_api.inferenceservices import InferenceService
from edge_api.quantities import parse_duration
from edge_operator.pool import manifests, recorded, shapes
from edge_operator.pool_nodes import Node, PoolMember
from edge_planning.choosing.enumeration import candidates
from edge_planning.request_shapes import RequestShape

Document = dict[str, Any]
CLASS: Final = "gateway"
REMOTE: Final = "cloud"


@dataclass(frozen=True, slots=True)
class Planned:
    """The objects of a service that a plan is made from, as the API server has them."""

    service: Document
    profile: Document
    placement: Document

    def latency(self, route: str, shape: Mapping[str, Sequence[int]], bandwidth: float) -> dict[str, float]:
        """Returns the parts of the latency in seconds, and `total`.

        bandwidth: in bit/s. Raises KeyError if the mode of the service does not allow the route.
        """
        spec = InferenceService.model_validate(self.service).spec
        profile = ModelProfile.model_validate(self.profile).spec
        card = recorded.metadata(profile)
        assert card is not None, "a ModelProfile of this version has the model's metadata"
        at = RequestShape.of(shape)
        costs = {
            name: shapes.profile_at(each, at) for name, each in manifests.device_profiles(profile).items()
        }
        link = self.placement["spec"].get("link", {})
        problem = manifests.entry_problem(
            spec,
            manifests.planned_model("", shapes.card_at(card, at) if card.shapes else card),
            costs,
            PoolMember(Node(self.placement["spec"]["node"], {}, ready=True), CLASS, "Device"),
            remote=REMOTE,
            peer=REMOTE,
            rtt=parse_duration(link.get("roundTrip", "0s")),
            bandwidth=bandwidth,
        )
        options = candidates(problem)
        names = {options.name(i): i for i in range(len(options))}
        found = options.latency(names[route], bandwidth)
        parts = ("head", "tail", "transfer", "fixed", "queue", "margin")
        return {**{part: float(getattr(found, part)) for part in parts}, "total": float(found.total)}
