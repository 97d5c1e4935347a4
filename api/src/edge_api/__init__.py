"""The API: pydantic models that are the only source of the schema, the rules and the printer columns.

service = InferenceService.model_validate(body)    # from a plain object or a kopf body
patch = written(InferenceServiceStatus(url="…"))   # to plain JSON values
"""

from edge_api.devicepools import DevicePool
from edge_api.inferenceservices import InferenceService
from edge_api.modelprofiles import ModelProfile
from edge_api.objects import API_VERSION, GROUP, VERSION, Condition, KubernetesObject, written
from edge_api.placements import Placement
from edge_api.quantities import Duration, Quantity, Share

KINDS: dict[str, type[KubernetesObject]] = {
    "InferenceService": InferenceService,
    "DevicePool": DevicePool,
    "ModelProfile": ModelProfile,
    "Placement": Placement,
}

__all__ = [
    "API_VERSION",
    "GROUP",
    "KINDS",
    "VERSION",
    "Condition",
    "DevicePool",
    "Duration",
    "InferenceService",
    "KubernetesObject",
    "ModelProfile",
    "Placement",
    "Quantity",
    "Share",
    "written",
]
