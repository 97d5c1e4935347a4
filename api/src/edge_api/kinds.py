"""The kinds of the API by name."""

from edge_api.devicepools import DevicePool
from edge_api.inferenceservices import InferenceService
from edge_api.modelprofiles import ModelProfile
from edge_api.objects import KubernetesObject
from edge_api.placements import Placement
from edge_api.tenants import Tenant

KINDS: dict[str, type[KubernetesObject]] = {
    "InferenceService": InferenceService,
    "DevicePool": DevicePool,
    "ModelProfile": ModelProfile,
    "Placement": Placement,
    "Tenant": Tenant,
}
