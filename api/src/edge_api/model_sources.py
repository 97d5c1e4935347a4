"""Where a model comes from: its address, its exits, and the data that it is measured on."""

from typing import Annotated, Literal

from pydantic import Field

from edge_api.model_inputs import ONE_FORM as ONE_SHAPE
from edge_api.model_inputs import WITHIN, ModelInput
from edge_api.objects import KeyedBy, Part
from edge_api.rules import Digest, ObjectName, matching, one_of_each
from edge_api.sequences import Sequences, StatePair
from edge_api.tensors import COMPARABLE, ONE_FORM, Exit

SCHEMES = ("store", "http", "https", "file", "s3", "gs", "hf", "oci", "pvc")
"""Those of the model store's sources; a test compares them."""
_STORAGE_URI = matching(
    rf"^({'|'.join(SCHEMES)})://[^\x00-\x1f\x7f]+$",
    "is not an address of a model: write store://<path> (a file in the model store), or an address with one "
    "of https, s3, gs, hf, oci, pvc, http and file",
)

_CREDENTIALS = (
    "Name of a Secret in the service's namespace with what storageUri requires, for https, s3, gs, hf and "
    "oci. A Job in the namespace has its keys as environment variables, such as AWS_ACCESS_KEY_ID and "
    "HF_TOKEN, and as files: .netrc, .dockerconfigjson and gcloud-application-credentials.json. Default: "
    "none, the model store reads the file anonymously."
)


Metric = Literal[
    "Accuracy",
    "MeanAveragePrecision",
    "WordErrorRate",
    "CharacterErrorRate",
    "MeanSquaredError",
    "Agreement",
]
"""Those of the model store; a test compares them."""


class Validation(Part):
    """Inputs, in most cases labeled, on which the accuracy of codecs and exits is measured."""

    storage_uri: Annotated[str, Field(max_length=2048), _STORAGE_URI] = Field(
        description="Address of a NumPy .npz file, with the schemes of spec.model.storageUri. It has the "
        "array inputs, as the model takes them, or an array named after each of several inputs; 100 samples "
        "or more, of which at most 1000 are used; and the arrays that metric needs. Required."
    )
    secret_name: ObjectName | None = Field(default=None, description=_CREDENTIALS)
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 digest of the file, as sha256: and 64 hex digits. A file with another digest "
        "is refused. Default: any file is accepted.",
    )
    metric: Metric | None = Field(
        default=None,
        description="Metric of the accuracy, from 0 to 1, with its arrays in the file. Accuracy: share of "
        "right classes, by labels [N], whole numbers. MeanAveragePrecision: that of COCO, by boxes [M, 4] "
        "(x1, y1, x2, y2), classes [M] and images [M], the row in inputs of each box. WordErrorRate and "
        "CharacterErrorRate: max(0, 1 - rate), by labels [N], texts, and for outputs of numbers alphabet "
        "[classes], texts, empty for the blank of CTC. MeanSquaredError: max(0, 1 - error / variance of the "
        "labels), by labels [N, ...], numbers. Agreement: with the full model, without labels. Default: "
        "Accuracy.",
    )


class Samples(Part):
    """Inputs on which the model is measured and warmed up."""

    storage_uri: Annotated[str, Field(max_length=2048), _STORAGE_URI] = Field(
        description="Address of a NumPy .npz file, with the schemes of spec.model.storageUri. It has an "
        "array named after each input, with one sample after the other along the first dimension; at most 8 "
        "are used. Required."
    )
    secret_name: ObjectName | None = Field(default=None, description=_CREDENTIALS)
    digest: Digest | None = Field(
        default=None,
        description="SHA-256 digest of the file, as sha256: and 64 hex digits. A file with another digest "
        "is refused. Default: any file is accepted.",
    )


class ModelSource(Part):
    """Where the model is, its exits and its inputs."""

    storage_uri: Annotated[str, Field(max_length=2048), _STORAGE_URI] = Field(
        description="Address of the ONNX file: store://<path> for a file in the model store; https://, "
        "s3://, gs://, hf:// and oci:// for a server; pvc://<claim>/<path> for a volume of the service's "
        "namespace; http:// and file:// as far as the model store may read them. Required."
    )
    secret_name: ObjectName | None = Field(default=None, description=_CREDENTIALS)
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
        description="Inputs on which the model is measured and warmed up, in place of generated ones and "
        "zeros. Default: none.",
    )
    first_requests: Literal["Measure", "Ignore"] | None = Field(
        default=None,
        description="What entry nodes do with the first requests if the model refuses generated inputs. "
        "Measure: they keep the inputs of up to 8 in memory, and one of each device class measures the model "
        "on them; the inputs leave neither the node nor the memory. Ignore: nothing is kept, and the "
        "service has no plan until samples names inputs. Default: Measure.",
    )
    state: (
        Annotated[
            tuple[StatePair, ...],
            Field(min_length=1, max_length=64),
            one_of_each("input", "pairs of state"),
            KeyedBy("input"),
        ]
        | None
    ) = Field(
        default=None,
        description="Pairs of an output and an input that are the state of a recurrent model. Entry nodes "
        "keep it by the sequence_id of requests. An open first dimension is 1; the sizes of other open "
        "dimensions are those of spec.model.inputs. Default: none, clients send and receive all tensors.",
    )
    sequences: Sequences | None = Field(
        default=None,
        description="Limits of the kept sequences of a model with a state. Default: 128 for 30s.",
    )
