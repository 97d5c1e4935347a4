"""The reasons of events about deletions that leave something behind."""

from typing import Final

from edge_api.reason_registry import EVENT, registered

TAILS_LEFT: Final = registered(
    "TailsLeft",
    (EVENT,),
    "The service was deleted while its Triton server did not answer, so its tails may still be loaded.",
    "Restart Triton, or unload the models that the message names.",
)
OBJECTS_LEFT: Final = registered(
    "ObjectsLeft",
    (EVENT,),
    "The service was deleted while the API server kept objects of it, which it deletes later by their owner.",
    "Remove what refuses their deletion: finalizers of others, or an admission webhook.",
)
