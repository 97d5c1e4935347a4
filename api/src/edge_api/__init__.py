"""The API: pydantic models that are the only source of the schema, the rules and the printer columns.

service = InferenceService.model_validate(body)    # from a plain object or a kopf body
patch = written(InferenceServiceStatus(url="…"))   # to plain JSON values
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_api.devicepools import DevicePool
    from edge_api.inferenceservices import InferenceService
    from edge_api.kinds import KINDS
    from edge_api.modelprofiles import ModelProfile
    from edge_api.objects import API_VERSION, GROUP, VERSION, Condition, KubernetesObject, written
    from edge_api.placements import Placement
    from edge_api.quantities import Duration, Quantity, Share
    from edge_api.tenants import Tenant

# Loaded on first use: the processes of the runtime that need words and quantities do without pydantic.
_MODULES = {
    **dict.fromkeys(
        ("API_VERSION", "GROUP", "VERSION", "Condition", "KubernetesObject", "written"), "objects"
    ),
    **dict.fromkeys(("Duration", "Quantity", "Share"), "quantities"),
    "DevicePool": "devicepools",
    "InferenceService": "inferenceservices",
    "KINDS": "kinds",
    "ModelProfile": "modelprofiles",
    "Placement": "placements",
    "Tenant": "tenants",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"edge_api.{_MODULES[name]}"), name)
    return value


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
    "Tenant",
    "written",
]
