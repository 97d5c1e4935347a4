"""How a new model of a service gets its requests, and how far it has come."""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from edge_api.model_inputs import ModelInput
from edge_api.objects import KeyedBy, Part, StatusPart
from edge_api.quantities import Duration
from edge_api.rules import Digest, PositiveDuration, Rule, Text

REVISION_OF_LABEL: Final = "edge-intelligence.io/revision-of"
"""On the InferenceService of a candidate: the service that it is a revision of."""
PROMOTE_ANNOTATION: Final = "edge-intelligence.io/promote"
"""On an InferenceService: the revision to serve now, without further steps."""
ABORT_ANNOTATION: Final = "edge-intelligence.io/abort"
"""On an InferenceService: the revision to return from."""

Percentage = Annotated[int, Field(strict=True, ge=1, le=100)]
Phase = Literal["Stable", "Loading", "Shadowing", "Shifting", "Promoting", "Returned"]


class RolloutStep(Part):
    """A share of the requests for a time."""

    weight: Percentage = Field(
        description="Percentage of the requests at each entry node that the candidate answers, from 1 to "
        "100. Required."
    )
    duration: PositiveDuration = Field(
        default=Duration(300.0),
        description="Time until the next step, as a duration above 0 such as 10m. After the last step, the "
        "candidate becomes the current revision. Default: 5m0s.",
    )


class Shadowing(Part):
    """Requests that the candidate computes, too, before it answers any."""

    share: Percentage = Field(
        default=10,
        description="Percentage of the requests at each entry node that are also computed by the candidate, "
        "from 1 to 100. They are skipped while the node computes others. Default: 10.",
    )
    duration: PositiveDuration = Field(
        default=Duration(300.0),
        description="Time until the first step, as a duration above 0 such as 10m. Default: 5m0s.",
    )


class Rollout(Part):
    """How requests go over to a new revision of the model."""

    shadow: Shadowing | None = Field(
        default=None,
        description="Has the candidate compute a share of the requests before the first step. Its outputs "
        "are compared with those of the current revision, and not returned. Default: no shadow.",
    )
    steps: Annotated[tuple[RolloutStep, ...], Field(max_length=16)] = Field(
        default=(),
        description="Shares of the requests that the candidate answers, one after the other, at most 16. "
        "Default: none, the candidate becomes the current revision once all entry nodes have loaded it.",
    )
    paused: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="Whether to stay at the present step. A candidate that fails is returned from in any "
        "case. Default: false.",
    )


_SHARED_FIX = (
    "sends requests to two revisions in one runtime, which isolation Dedicated excludes: remove rollout, or "
    "write isolation: Shared"
)
SHARED_RUNTIME: Final = Rule(
    cel="!has(self.rollout) || !has(self.isolation) || self.isolation == 'Shared'",
    message=f"rollout {_SHARED_FIX}",
    sentence=f"'rollout {_SHARED_FIX}'",
    check=lambda spec: (
        None if spec.rollout is None or spec.isolation == "Shared" else f"rollout {_SHARED_FIX}"
    ),
)


class ModelStatus(StatusPart):
    """The bytes that an address resolved to, and the revisions of the model."""

    storage_uri: str = Field(description="The storageUri that was resolved.")
    digest: Digest = Field(
        description="SHA-256 digest of the ONNX file that is served. Bytes that change at the address are "
        "not rolled out: set spec.model.digest to their digest to serve them."
    )
    inputs: Annotated[tuple[ModelInput, ...], Field(max_length=64), KeyedBy("name")] | None = Field(
        default=None,
        description="Shapes of inputs, from those of requests, at which the model is measured. Default: "
        "spec.model.inputs or the file states them, or no request has come yet.",
    )
    phase: Phase | None = Field(
        default=None,
        description="Stable: entry nodes serve spec.model. Loading: they load the candidate. Shadowing: it "
        "computes requests that the current revision answers. Shifting: it answers a share of the requests. "
        "Promoting: entry nodes load it as the current revision. Returned: the former revision serves, since "
        "the candidate failed or was aborted. Default: nothing was loaded yet.",
    )
    current: Digest | None = Field(
        default=None, description="Digest of the revision that serves. Default: none was loaded yet."
    )
    candidate: Digest | None = Field(
        default=None,
        description="Digest of the revision that is rolled out, or was returned from. Default: none, or "
        "its address is not resolved yet.",
    )
    resolved_digest: Digest | None = Field(
        default=None,
        description="Digest of the ONNX file that spec.model resolved to. Default: it is not resolved yet.",
    )


class RolloutStatus(StatusPart):
    """How far a roll-out has come; a restarted operator continues from it."""

    phase: Phase = Field(default="Stable", description="The same as model.phase.")
    revision: str | None = Field(
        default=None,
        max_length=63,
        description="Name of the candidate: that of its InferenceService, if spec.rollout is set, and the "
        "value of the annotations that promote and abort it. Default: none.",
    )
    step: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Index of the present step in spec.rollout.steps. Default: none."
    )
    weight: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None, description="Percentage of the requests that the candidate answers. Default: none."
    )
    since: AwareDatetime | None = Field(default=None, description="When the phase or the step began.")
    reason: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="Why the candidate was returned from, in CamelCase. Default: it was not."
    )
    message: Text | None = Field(
        default=None, description="What the roll-out waits for, or what the candidate failed by."
    )
    served: Annotated[str, Field(max_length=65536)] | None = Field(
        default=None,
        description="The spec.model that serves, in JSON, with its digest. Default: none was loaded yet.",
    )
    compared: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Requests whose outputs by both revisions were compared."
    )
    agreed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Those whose outputs differ by 1 % at most."
    )
