"""The reasons of the condition RolledOut."""

from typing import Final

from edge_api.reason_registry import NOTHING, ROLLED_OUT, registered

CURRENT: Final = registered(
    "Current", (ROLLED_OUT,), "Entry nodes serve the model that spec.model names.", NOTHING
)
ROLLING_OUT: Final = registered(
    "RollingOut",
    (ROLLED_OUT,),
    "A new revision of the model is loaded, shadowed, or answers a share of the requests.",
    "Wait, or promote or abort it with ei rollout.",
)
ROLLOUT_PAUSED: Final = registered(
    "RolloutPaused",
    (ROLLED_OUT,),
    "spec.rollout.paused keeps the roll-out at its step, or the service is suspended.",
    "Set spec.rollout.paused to false.",
)
CANDIDATE_WAITS: Final = registered(
    "CandidateWaits",
    (ROLLED_OUT,),
    "The candidate has no routes yet. Often the pool has no room for two revisions.",
    "Follow the message; make room in the pool, or remove spec.rollout to replace the model in place.",
)
CANDIDATE_NOT_LOADED: Final = registered(
    "CandidateNotLoaded",
    (ROLLED_OUT,),
    "The candidate cannot be loaded. The former revision keeps serving.",
    "Fix the model as the message tells, and set spec.model to the new revision.",
)
CANDIDATE_DIFFERS: Final = registered(
    "CandidateDiffers",
    (ROLLED_OUT,),
    "The candidate has other inputs or outputs than the current revision, so that clients cannot use both.",
    "Create another service for it, or remove spec.rollout to replace the model in place.",
)
CANDIDATE_FAILS: Final = registered(
    "CandidateFails",
    (ROLLED_OUT,),
    "Requests to the candidate ended with errors. The former revision keeps serving.",
    "Read the logs of the runtimes, and set spec.model to a revision without the errors.",
)
CANDIDATE_MISSES_SLO: Final = registered(
    "CandidateMissesSLO",
    (ROLLED_OUT,),
    "The candidate missed the SLO while the former revision meets it, which keeps serving.",
    "Use a faster model, or another spec.slo.",
)
CANDIDATE_INACCURATE: Final = registered(
    "CandidateInaccurate",
    (ROLLED_OUT,),
    "The candidate is less accurate on spec.model.validation than it must be. The former revision keeps "
    "serving.",
    "Set spec.model to a more accurate revision.",
)
ROLLOUT_ABORTED: Final = registered(
    "RolloutAborted",
    (ROLLED_OUT,),
    "The annotation edge-intelligence.io/abort names the candidate. The former revision keeps serving.",
    "Set spec.model to the revision to serve; remove the annotation to roll out the same one again.",
)
