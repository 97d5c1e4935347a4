"""Reasons of getting a model into the model store."""

from typing import Final

from edge_api.reason_registry import MODEL_READY, NOTHING, PLACED, PROFILED, READY, registered

FETCHING: Final = registered(
    "Fetching",
    (MODEL_READY, PROFILED, PLACED),
    "The model store fetches the model, or makes what the service needs of it.",
    "Wait: it takes as long as the download.",
)
FETCH_FAILED: Final = registered(
    "FetchFailed",
    (MODEL_READY,),
    "The Job that fetches the model in the service's namespace failed, or its pod does not start.",
    "Correct what the message names, such as the Secret of spec.model.secretName, and read the Job's events.",
)
DISK_FULL: Final = registered(
    "DiskFull",
    (MODEL_READY, PLACED),
    "The model store's disk has no room for the file.",
    "Enlarge its volume (chart value store.persistence.size), or remove files that no service uses.",
)
FETCHED: Final = registered("Fetched", (MODEL_READY,), "The model is in the model store.", NOTHING)
UNSUPPORTED_SCHEME: Final = registered(
    "UnsupportedScheme",
    (MODEL_READY, READY),
    "The model store does not read addresses with this scheme.",
    "Use one of those that docs/model-store.md lists, such as store:// or https://.",
)
TOO_LARGE: Final = registered(
    "TooLarge",
    (MODEL_READY, PLACED, READY),
    "The file is larger than the limit of the model store.",
    "Use a smaller model, or raise the limit.",
)
