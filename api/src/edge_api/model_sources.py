"""Where a model comes from: its address, its exits, and the data that it is measured on."""

from typing import Annotated

from pydantic import Field

from edge_api.model_inputs import ONE_FORM as ONE_SHAPE
from edge_api.model_inputs import WITHIN, ModelInput
from edge_api.objects import KeyedBy, Part
from edge_api.rules import Digest, matching, one_of_each
from edge_api.tensors import COMPARABLE, ONE_FORM, Exit

SCHEMES = ("store", "http", "https", "file")
"""Those of the model store's sources; a test compares them."""
_STORAGE_URI = matching(
    rf"^({'|'.join(SCHEMES)})://[^\x00-\x1f\x7f]+$",
    "is not an address of a model: write store://<path> (a file in the model store), https://…, http://… or "
    "file://…",
)


class Validation(Part):
    """Labeled inputs on which the accuracy of codecs and the confidence of exits are measured."""

    storage_uri: Annotated[str, Field(max_length=2048), _STORAGE_URI] = Field(
        description="Address of a NumPy .npz file, with the schemes of spec.model.storageUri. It has the "
        "arrays inputs, as the model takes them, and labels, the class number of each; 100 samples or more, "
        "of which at most 1000 are used. Required."
    )
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 digest of the file, as sha256: and 64 hex digits. A file with another digest "
        "is refused. Default: any file is accepted.",
    )


class Samples(Part):
    """Inputs on which the model is measured and warmed up."""

    storage_uri: Annotated[str, Field(max_length=2048), _STORAGE_URI] = Field(
        description="Address of a NumPy .npz file, with the schemes of spec.model.storageUri. It has an "
        "array named after each input, with one sample after the other along the first dimension; at most 8 "
        "are used. Required."
    )
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 digest of the file, as sha256: and 64 hex digits. A file with another digest "
        "is refused. Default: any file is accepted.",
    )


class ModelSource(Part):
    """Where the model is, its exits and its inputs."""

    storage_uri: Annotated[str, Field(max_length=2048), _STORAGE_URI] = Field(
        description="Address of the ONNX file: store://<path> for a file in the model store, or an "
        "https://, http:// or file:// address that the model store can read. Required."
    )
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 digest of the ONNX file, as sha256: and 64 hex digits. A file with another "
        "digest is refused. Default: any file is accepted.",
    )
    exits: (
        Annotated[
            tuple[Annotated[Exit, ONE_FORM], ...],
            Field(min_length=1, max_length=64),
            one_of_each("name", "exits"),
            COMPARABLE,
            KeyedBy("name"),
        ]
        | None
    ) = Field(
        default=None,
        description="Exits ordered by depth, 1 to 64; the last one is the full model. Overrides the "
        "metadata entry edge.exits of the ONNX file. Default: that entry, else one exit with all outputs.",
    )
    validation: Validation | None = Field(
        default=None,
        description="Data on which the accuracy with every codec is measured at every cut and "
        "exit, so that activations can be sent with them. Default: none, hops use fp32.",
    )
    inputs: (
        Annotated[
            tuple[Annotated[ModelInput, ONE_SHAPE, WITHIN], ...],
            Field(min_length=1, max_length=64),
            one_of_each("name", "inputs"),
            KeyedBy("name"),
        ]
        | None
    ) = Field(
        default=None,
        description="Shapes of inputs whose dimensions the ONNX file leaves open, besides the batch. "
        "Overrides the metadata entry edge.inputs of the file. Default: that entry, else the shape of the "
        "samples, else the shapes of requests; until these are known, every entry node answers with its "
        "local route.",
    )
    samples: Samples | None = Field(
        default=None,
        description="Inputs on which the model is measured, in place of generated ones. Default: none.",
    )
