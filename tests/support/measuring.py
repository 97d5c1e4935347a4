"""Measures a model of the model store, as a profiling Job does."""

from typing import Any

from edge_runtime.model_store import ModelStore
from edge_runtime.profiling import profile_device

SELECTION = "factory-1"


async def profiled(store: ModelStore, digest: str, device_class: str) -> dict[str, Any]:
    """Measures for a millisecond each, and stores the DeviceProfile. Closes the client of the store."""
    found = await profile_device(
        store, digest, device_class, "here", selection=SELECTION, seconds=0.001, progress=lambda _: None
    )
    await store.put_profile(found)
    store.close()
    return found
