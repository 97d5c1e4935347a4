"""Reasons about the shapes of a model's inputs, and about its samples."""

from typing import Final

from edge_api.reason_registry import MODEL_READY, PLANNED, PROFILED, registered

BAD_INPUTS: Final = registered(
    "BadInputs",
    (MODEL_READY,),
    "An entry of spec.model.inputs, or of edge.inputs in the file's metadata, does not fit the ONNX file.",
    "Correct the field that the message names.",
)
BAD_SAMPLES: Final = registered(
    "BadSamples",
    (MODEL_READY,),
    "The file in spec.model.samples is no .npz file with arrays for the inputs of the model.",
    "Write it by numpy.savez with the inputs as names, as the message says.",
)
SHAPES_UNKNOWN: Final = registered(
    "ShapesUnknown",
    (PROFILED, PLANNED),
    "The file leaves dimensions open, and no sizes are given, so the model cannot be measured. Entry nodes "
    "answer with the local route of the full model, without a plan.",
    "Write what the message says into spec.model.inputs. Without it, the model is measured at the shapes of "
    "requests once some have come.",
)
INPUTS_REFUSED: Final = registered(
    "InputsRefused",
    (PROFILED, PLANNED),
    "The model refuses the inputs that were generated to measure it. Entry nodes answer with the local route "
    "of the full model, without a plan.",
    "Send requests to the entry nodes that the message names, on which the model is measured, or give inputs "
    "that the model takes in spec.model.samples.",
)
MEASURING_ON_REQUESTS: Final = registered(
    "MeasuringOnRequests",
    (PROFILED, PLANNED),
    "The model refuses generated inputs, and an entry node measures it on those of the first requests. Entry "
    "nodes answer with the local route of the full model, without a plan.",
    "Wait: it is measured while the node computes no requests. The message says why an attempt failed.",
)
